//! Runs the commands of a block in bash, and compares what they print with what the document shows.
//!
//! Variables and functions live on from block to block of a document; a command that fails ends the block.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest time for one block.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a script said, on both channels, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub text: String,
}

/// A command of a block, and what the document shows of its output: `None` where it shows commands alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub command: String,
    pub shown: Option<String>,
}

/// Takes a block apart. Without a prompt it is one script; with prompts, each begins a command, whose lines go on after a
/// backslash or up to the end of a here-document, and what follows is its output.
pub fn steps(text: &str) -> Vec<Step> {
    if !text.lines().any(|line| line.starts_with("$ ")) {
        return vec![Step { command: text.to_owned(), shown: None }];
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut until: Option<String> = None;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            until = ending(command);
            steps.push(Step { command: format!("{command}\n"), shown: Some(String::new()) });
            continue;
        }
        let step = steps.last_mut().expect("a block with prompts begins with one");
        if let Some(end) = &until {
            step.command.push_str(line);
            step.command.push('\n');
            if end.is_empty() {
                until = ending(line);
            } else if line == end {
                until = None;
            }
        } else {
            let shown = step.shown.get_or_insert_default();
            shown.push_str(line);
            shown.push('\n');
        }
    }
    steps
}

/// What ends a command that this line does not end: the word of a here-document, or the next line.
fn ending(line: &str) -> Option<String> {
    if let Some((_, word)) = line.split_once("<<") {
        return Some(word.split_whitespace().next().unwrap_or_default().trim_matches(['\'', '-']).to_owned());
    }
    line.ends_with('\\').then(String::new)
}

/// Runs a script in this folder, with the state that former ones left in `state`.
pub fn run(script: &str, folder: &Path, state: &Path, environment: &[(String, String)]) -> Said {
    let file = state.with_extension("sh");
    let output = state.with_extension("out");
    let state = state.display();
    // What an earlier block exported is older than what holds now.
    let exports: Vec<String> = environment.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    let exports = exports.concat();
    let text = format!(
        "if [ -f {state} ]; then . {state}; fi\n{exports}\
         trap 'code=$?; {{ declare -f; export -p; }} > {state}; exit $code' EXIT\n\
         set -euo pipefail -o allexport\n{script}\n"
    );
    std::fs::write(&file, text).unwrap();
    let printed = std::fs::File::create(&output).unwrap();
    let mut bash = Command::new("bash");
    bash.arg(&file).current_dir(folder).stdin(Stdio::null());
    bash.stdout(printed.try_clone().unwrap()).stderr(printed).env_clear().envs(environment.iter().cloned());
    let mut child = bash.spawn().expect("bash is installed");
    let deadline = Instant::now() + PATIENCE;
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap_or(-1);
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break -1;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    Said { code, text: String::from_utf8_lossy(&std::fs::read(output).unwrap()).into_owned() }
}

/// Whether what was printed is what is shown, but for what differs each time. A line `...` stands for any lines.
pub fn agrees(shown: &str, printed: &str) -> bool {
    let lines = |text: &str| text.trim().lines().map(stable).collect::<Vec<_>>();
    matches(&lines(shown), &lines(printed))
}

fn matches(shown: &[String], printed: &[String]) -> bool {
    match shown {
        [] => printed.is_empty(),
        [first, rest @ ..] if first == "..." => (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..])),
        [first, rest @ ..] => printed.first() == Some(first) && matches(rest, &printed[1..]),
    }
}

/// A line without what differs each time: ids, ages, and how columns are filled up.
fn stable(line: &str) -> String {
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn word(word: &str) -> String {
    let age = word.ends_with(['s', 'm', 'h', 'd']) && word.starts_with(|c: char| c.is_ascii_digit());
    if age && word.chars().all(|c| c.is_ascii_digit() || matches!(c, 's' | 'm' | 'h' | 'd')) {
        return "<age>".into();
    }
    let digits: Vec<&str> = word.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() > 14).collect();
    digits.iter().fold(word.to_owned(), |word, id| word.replace(id, "<id>"))
}

#[test]
fn a_block_is_taken_apart() {
    assert_eq!(steps("a\nb\n"), [Step { command: "a\nb\n".into(), shown: None }]);
    let with_prompts = "$ a <<END\n1\nEND\nx\n\n$ b \\\n  c\ny\n$ d\n";
    let step = |command: &str, shown: &str| Step { command: command.into(), shown: Some(shown.into()) };
    assert_eq!(steps(with_prompts), [step("a <<END\n1\nEND\n", "x\n\n"), step("b \\\n  c\n", "y\n"), step("d\n", "")]);
}

#[test]
fn output_is_compared_but_for_what_differs_each_time() {
    assert!(agrees("A   ID   AGE\na   401795520857301682:   3s\n", "A  ID  AGE\na  401795520857309999:  2m3s\n"));
    assert!(agrees("a\n...\nz\n", "a\nb\nc\nz\n"));
    assert!(!agrees("a\n", "b\n"));
    assert!(!agrees("a\n", "a\nb\n"));
    assert!(!agrees("a\nb\n", "a\n"));
}

#[test]
fn state_lives_on_and_failures_end_a_script() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let path = std::env::var("PATH").unwrap();
    let run = |script: &str| run(script, folder.path(), &state, &[("PATH".into(), path.clone())]);
    assert_eq!(run("A='b c'\nf() { echo \"$A$1\"; }").code, 0);
    assert_eq!(run("f d").text, "b cd\n");
    let said = run("false\necho no");
    assert_eq!((said.code, said.text.as_str()), (1, ""));
    assert_eq!(run("echo $UNKNOWN").code, 1);
    assert_eq!(run("false | true").code, 1);
    assert_eq!(run("f e").text, "b ce\n", "a failure forgets nothing");
}
