//! Those who judge an object: Argo CD's own interpreter with the scripts that users install, and kstatus. Each is a
//! program that answers a line with a line; it ends when this process closes the pipe, however that happens.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use devkit::tools::argocd::{ArgoCd, Part};
use devkit::tools::kstatus;
use serde_json::{Value, json};

use crate::snippets;

/// A program that answers each line of JSON with one.
struct Lines(Mutex<Pipes>);

struct Pipes {
    _child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Lines {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a judge starts");
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self(Mutex::new(Pipes { _child: child, to, from }))
    }

    fn ask(&self, question: &Value) -> Value {
        let mut pipes = self.0.lock().unwrap();
        writeln!(pipes.to, "{question}").expect("the judge listens");
        let mut line = String::new();
        pipes.from.read_line(&mut line).expect("the judge answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?} to {question}"))
    }
}

/// Argo CD, built.
pub fn argo_cd() -> &'static ArgoCd {
    static BUILT: OnceLock<ArgoCd> = OnceLock::new();
    BUILT.get_or_init(|| ArgoCd::ensure().expect("Argo CD is built"))
}

fn interpreter() -> &'static Lines {
    static RUNNING: OnceLock<Lines> = OnceLock::new();
    RUNNING.get_or_init(|| {
        let mut command = argo_cd().command(Part::Judge);
        command.arg(snippets::folder().join("argocd-cm.yaml"));
        Lines::start(command)
    })
}

/// What Argo CD says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub status: String,
    pub message: String,
}

/// The health that Argo CD gives an object, deletion included.
pub fn health(object: &Value) -> Health {
    let answer = interpreter().ask(&json!({"object": object}));
    assert_eq!(answer["error"], Value::Null, "{object:#}");
    let text = |field: &str| answer["health"][field].as_str().unwrap_or_default().to_owned();
    Health { status: text("status"), message: text("message") }
}

/// The actions that Argo CD offers on an object, and whether each can be used, in the order of their names.
pub fn actions(object: &Value) -> Vec<(String, bool)> {
    let answer = interpreter().ask(&json!({"object": object}));
    let offered = answer["actions"].as_array().cloned().unwrap_or_default();
    let one = |action: &Value| {
        (action["name"].as_str().unwrap().to_owned(), !action["disabled"].as_bool().unwrap_or_default())
    };
    let mut offered: Vec<_> = offered.iter().map(one).collect();
    offered.sort();
    offered
}

/// The object as an action leaves it.
pub fn act(object: &Value, action: &str) -> Value {
    let answer = interpreter().ask(&json!({"object": object, "action": action}));
    assert_eq!(answer["error"], Value::Null, "{object:#}");
    answer["patched"].clone()
}

fn library() -> &'static Lines {
    static RUNNING: OnceLock<Lines> = OnceLock::new();
    RUNNING.get_or_init(|| Lines::start(Command::new(kstatus::ensure().expect("kstatus is built"))))
}

/// The word of kstatus for an object.
pub fn kstatus(object: &Value) -> String {
    let answer = library().ask(object);
    answer["status"].as_str().expect("kstatus has a word").to_owned()
}

/// Builds and starts both, which takes minutes the first time: before anybody waits for their word.
pub fn summon() {
    interpreter();
    library();
}
