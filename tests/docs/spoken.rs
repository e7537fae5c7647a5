//! Commands in running text: each is a part of one that a block or a scene runs, or is on the list here that says where it
//! is run, or what it needs. Those of cargo are judged in `cargo`.

use std::path::Path;

use crate::cargo;
use crate::markdown::{Document, documents, root};
use crate::marks::{AT_HAND, ELSEWHERE as THINGS};
use crate::play::is_run;
use crate::scenes::SCENES;
use crate::shell::steps;

/// Why a command is not run by a document.
enum Elsewhere {
    /// For want of this.
    Needs(&'static str),
    /// This file of the repository runs it: it has all its words, in this order.
    In(&'static str),
}

/// Commands that no document runs.
const ELSEWHERE: &[(&str, Elsewhere)] = &[
    ("argocd app terminate-op NAME", Elsewhere::Needs("argocd, the client of an Argo CD with its API server")),
    ("go test ./util/lua/", Elsewhere::Needs("go, and Argo CD's repository")),
    ("docker save", Elsewhere::Needs("docker")),
    (".ci/build-static amd64 OUTPUT", Elsewhere::In("Dockerfile")),
    ("cargo deny check bans licenses sources", Elsewhere::In("tests/image/supply.rs")),
    ("cargo deny check advisories", Elsewhere::Needs("cargo-deny and the RustSec database of github.com")),
    ("helm install --wait", Elsewhere::In("tests/chart/lifecycle.rs")),
    ("zitadel-actions-operator run", Elsewhere::In("tests/it/world.rs")),
    ("zitadel start-from-init", Elsewhere::Needs("a real ZITADEL")),
];

/// What looks like a command, and is none.
const NONE: &[&str] = &[
    // What ZITADEL says.
    "auth header missing",
    "db connection error ()",
    "invalid CreateTargetRequest.Name: value length must be between 1 and 200 runes, inclusive",
    "membership not found (AUTHZ-cdgFk)",
    "unable to set instance using origin http://x (ExternalDomain is y): ID=QUERY-1kIjX Message=Instance not found...",
    // Queries of Prometheus.
    "leader_election_master_status == 1",
    "max by (...)",
    // Scopes of a token.
    "openid urn:zitadel:iam:org:project:id:zitadel:aud",
    // Names of spans, and what the log says of them.
    "kubernetes PATCH",
    "traces are lost",
    "zitadel create",
    "zitadel get",
    // What a rule is about.
    "the object",
];

/// Commands of the operator's program, which may be named without it.
const OURS: [&str; 4] = ["check", "completions", "crds", "export"];

/// The commands of a script, each on one line, without comments.
pub fn commands(script: &str) -> Vec<String> {
    let text: String = steps(script).into_iter().map(|step| step.command).collect();
    let mut found = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        let mut words: Vec<&str> = Vec::new();
        for word in line.split_whitespace().take_while(|word| !word.starts_with('#')) {
            if matches!(word, "|" | "||" | "&&" | ";" | "do") {
                found.push(words.join(" "));
                words.clear();
            } else {
                words.push(word);
            }
        }
        found.push(words.join(" "));
    }
    found.retain(|command| !command.is_empty());
    found
}

/// The command that a piece of code is, if it looks like one: two words or more, of which the first could be a program.
fn command(code: &str) -> Option<String> {
    if NONE.contains(&code) {
        return None;
    }
    let words = cargo::words(code);
    let first = words.first().filter(|_| words.len() > 1)?;
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '/' | '_' | '-');
    if !first.starts_with(|c: char| c.is_ascii_lowercase() || matches!(c, '.' | '/')) || !first.chars().all(name) {
        return None;
    }
    let program = if OURS.contains(first) { "zitadel-actions-operator " } else { "" };
    Some(format!("{program}{}", words.join(" ")))
}

/// Whether these words are among the others, in this order. The first is the first.
pub fn in_order(words: &[&str], others: &[&str]) -> bool {
    let mut others = others.iter().skip_while(|other| words.first() != Some(*other));
    words.iter().all(|word| others.any(|other| fits(word, other)))
}

/// Whether a word is another one, but for a placeholder in it: a run of capitals.
fn fits(pattern: &str, word: &str) -> bool {
    if pattern == word {
        return true;
    }
    let capital = |c: char| c.is_ascii_uppercase() || c == '_';
    let Some(begin) = pattern.find(capital) else { return false };
    let length = pattern[begin..].find(|c| !capital(c)).unwrap_or(pattern.len() - begin);
    let (before, after) = (&pattern[..begin], pattern[begin + length..].trim_end_matches("..."));
    let whole = !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
    let longer = word.len() > before.len() + after.len();
    length > 1 && whole && longer && word.starts_with(before) && word.ends_with(after)
}

/// The commands that are run: those of all blocks, and those that scenes speak.
fn run() -> Vec<String> {
    let blocks = documents().into_iter().flat_map(|document| document.blocks()).filter(is_run);
    let mut all: Vec<String> = blocks.flat_map(|block| commands(&block.text)).collect();
    let spoken = SCENES.iter().copied().flatten().flat_map(|scene| scene.spoken);
    all.extend(spoken.map(|command| (*command).to_owned()));
    all
}

/// Whether one of these commands has all words of this one.
fn is_part(command: &str, of: &[String]) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    of.iter().any(|other| in_order(&words, &other.split_whitespace().collect::<Vec<_>>()))
}

/// What is wrong with why a command is not run, if anything.
fn excuse(command: &str, why: &Elsewhere) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    match why {
        Elsewhere::Needs(reason) => {
            let excused = THINGS.iter().any(|thing| reason.contains(thing));
            let absent = !AT_HAND.contains(&words[0]) && reason.contains(words[0]);
            (!excused && !absent).then(|| format!("{command}: nothing in it needs {reason:?}"))
        }
        Elsewhere::In(file) => {
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            let mut rest = text.as_str();
            let mut has = |word: &&str| {
                let at = rest.find(*word).map(|at| at + word.len());
                at.map(|at| rest = &rest[at..]).is_some()
            };
            // Where a placeholder begins, the file has what stands for it.
            let literal: Vec<&str> = words.iter().copied().take_while(|word| !fits(word, "x")).collect();
            (!literal.iter().skip(1).all(&mut has)).then(|| format!("{command}: {file} does not run it"))
        }
    }
}

/// What is wrong with the commands in the text of a document.
fn wrong(document: &Document, run: &[String]) -> Vec<String> {
    let spoken = document.code().into_iter().filter_map(|(line, code)| Some((line, command(&code)?)));
    spoken
        .filter(|(_, command)| !cargo::is_judged(&cargo::words(command)))
        .filter(|(_, command)| !is_part(command, run) && !ELSEWHERE.iter().any(|(listed, _)| starts(command, listed)))
        .map(|(line, command)| {
            format!(
                "{}:{line}: {command}: give it to a scene to speak, or a line in tests/docs/spoken.rs",
                document.path
            )
        })
        .collect()
}

fn starts(command: &str, listed: &str) -> bool {
    command.strip_prefix(listed).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[test]
fn every_command_in_running_text_is_run_or_says_why_not() {
    let run = run();
    let mut bad: Vec<String> = documents().iter().flat_map(|document| wrong(document, &run)).collect();
    bad.extend(ELSEWHERE.iter().filter_map(|(command, why)| excuse(command, why)));
    // What is told of no document any more.
    let spoken: Vec<String> = documents().iter().flat_map(Document::code).map(|(_, code)| code).collect();
    let idle = |listed: &&str| !spoken.iter().any(|code| starts(code, listed));
    bad.extend(
        ELSEWHERE
            .iter()
            .map(|(command, _)| *command)
            .filter(|listed| idle(listed))
            .map(|listed| format!("nobody says {listed}")),
    );
    bad.extend(NONE.iter().copied().filter(|listed| idle(listed)).map(|listed| format!("nobody says {listed}")));
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    let count = spoken.iter().filter_map(|code| command(code)).count();
    assert!(count > 60, "{count} commands: the documents were read");
    println!("{count} commands in running text; not run by a document:");
    for (command, why) in ELSEWHERE {
        let (Elsewhere::Needs(told) | Elsewhere::In(told)) = why;
        println!("{command}: {told}");
    }
}

/// A scene speaks what its document says, and no block has.
#[test]
fn every_spoken_command_is_in_its_document() {
    let blocks: Vec<String> = documents()
        .into_iter()
        .flat_map(|document| document.blocks())
        .filter(is_run)
        .flat_map(|block| commands(&block.text))
        .collect();
    for scene in SCENES.iter().copied().flatten() {
        let document = Document::read(Path::new(scene.document));
        let said: Vec<String> = document.code().into_iter().filter_map(|(_, code)| command(&code)).collect();
        for spoken in scene.spoken {
            let of = [(*spoken).to_owned()];
            let needed = said.iter().any(|said| is_part(said, &of) && !is_part(said, &blocks));
            assert!(needed, "{}: nothing in its text needs {spoken:?}", scene.document);
        }
    }
}

#[test]
fn a_command_in_running_text_is_told() {
    let run = commands("$ kubectl --namespace a get targets \\\n  -o wide | helm template x\nshown\n");
    let document = |text: &str| Document::parse("a", text);
    for good in [
        "`kubectl get`",
        "`kubectl get targets\n-o wide`",
        "`helm template NAME`",
        "`kubectl`",
        "`Kind: List`",
        "`kubectl get THINGS`",
    ] {
        assert_eq!(wrong(&document(good), &run), Vec::<String>::new());
    }
    for bad in [
        "`kubectl delete pod x`",
        "`frobnicate x`",
        "`kubectl get\npods`",
        "`A=1 velero restore`",
        "`kubectl template`",
        "`kubectl wide get`",
    ] {
        assert_eq!(wrong(&document(bad), &run).len(), 1, "{bad}");
    }
}

#[test]
fn placeholders_are_whole_runs_of_capitals() {
    for (pattern, word) in [("target/NAME", "target/a"), ("FILE...", "a.yaml"), ("NAME", "NAME"), ("{NAME}", "{a}")] {
        assert!(fits(pattern, word), "{pattern} {word}");
    }
    for (pattern, word) in
        [("target/NAME", "pod/a"), ("NAME.yaml", "a.json"), ("aNAME", "ab"), ("A", "b"), ("NAMEs", "as")]
    {
        assert!(!fits(pattern, word), "{pattern} {word}");
    }
}
