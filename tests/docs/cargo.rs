//! Commands that call cargo, in blocks and in running text: the package, target and program exist, a filter meets a test,
//! and the arguments are taken. They are not run here: most of them run what this test is a part of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use serde_json::Value;

use crate::markdown::{documents, root};
use crate::spoken::{commands, in_order};

/// A test that runs a program of the workspace by what stands after `--`, for those whose arguments cannot be parsed here.
const EXERCISED: [(&str, &str); 1] = [("control-plane", "devkit/tests/cleanup.rs")];

/// A target of the workspace: a library, a program, or a binary of tests.
struct Target {
    package: String,
    kind: String,
    name: String,
    source: PathBuf,
    /// Whether a plain `cargo test` runs it.
    tested: bool,
}

/// What a word after `cargo test` says.
#[derive(Default)]
struct Tests<'a> {
    package: Option<&'a str>,
    target: Option<&'a str>,
    library: bool,
    filters: Vec<&'a str>,
}

/// What cargo itself knows of this workspace.
fn targets() -> Vec<Target> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]).current_dir(root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |package: &Value| {
        let all = package["targets"].as_array().unwrap().iter();
        let target = |target: &Value| Target {
            package: text(&package["name"]),
            kind: text(&target["kind"][0]),
            name: text(&target["name"]),
            source: PathBuf::from(text(&target["src_path"])),
            tested: target["test"] == true,
        };
        all.map(target).collect::<Vec<_>>()
    };
    metadata["packages"].as_array().unwrap().iter().flat_map(of).collect()
}

/// What is wrong with a command of cargo's. `None` where nothing is, or where it is of a subcommand that does not come with
/// cargo: such a block needs a mark, and such a command in running text an entry of `spoken`.
fn wrong(words: &[&str], targets: &[Target]) -> Option<String> {
    let judged = match *words {
        ["cargo", "test", ref rest @ ..] => test(rest, targets),
        ["cargo", "run", ref rest @ ..] => run(rest, targets),
        ["cargo", "clippy" | "fmt" | "build", ..] => stage(words),
        ["cargo", name, ref rest @ ..] => match alias(name) {
            Some(alias) => {
                return wrong(&[&["cargo"], &*alias.split_whitespace().collect::<Vec<_>>(), rest].concat(), targets);
            }
            None => Ok(()),
        },
        _ => Ok(()),
    };
    judged.err()
}

/// Whether [`wrong`] says all that has to be said.
pub fn is_judged(words: &[&str]) -> bool {
    matches!(words, ["cargo", name, ..] if ["test", "run", "clippy", "fmt", "build"].contains(name) || alias(name).is_some())
}

/// What a name after `cargo` stands for in this repository.
fn alias(name: &str) -> Option<String> {
    let config = std::fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    let line = config.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")).map(str::to_owned))?;
    Some(line.trim_matches('"').to_owned())
}

/// One of the stages of CI.
fn stage(words: &[&str]) -> Result<(), String> {
    let script = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let runs = script.lines().any(|line| in_order(words, &line.split_whitespace().collect::<Vec<_>>()));
    if runs { Ok(()) } else { Err(".ci/run does not run it".into()) }
}

fn test(words: &[&str], targets: &[Target]) -> Result<(), String> {
    let told = told(words)?;
    let chosen: Vec<&Target> = targets
        .iter()
        .filter(|target| told.package.is_none_or(|package| target.package == package))
        .filter(|target| match told.target {
            Some("NAME") => target.kind == "test",
            Some(name) => target.kind == "test" && target.name == name,
            None => target.tested,
        })
        .filter(|target| !told.library || target.kind == "lib")
        .collect();
    if chosen.is_empty() {
        return Err(format!("no such target: {words:?}"));
    }
    let names: Vec<String> = chosen.iter().flat_map(|target| names(&target.source)).collect();
    match told.filters.iter().find(|filter| !names.iter().any(|name| name.contains(**filter))) {
        Some(filter) => Err(format!("no test there has {filter:?} in its name")),
        None => Ok(()),
    }
}

fn told<'a>(words: &[&'a str]) -> Result<Tests<'a>, String> {
    let mut told = Tests::default();
    let mut to_harness = false;
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        match word {
            "--" => to_harness = true,
            "--nocapture" if to_harness => {}
            "--test" if !to_harness => told.target = Some(words.next().ok_or("--test without a name")?),
            "-p" | "--package" if !to_harness => told.package = Some(words.next().ok_or("-p without a name")?),
            "--lib" if !to_harness => told.library = true,
            "--locked" if !to_harness => {}
            flag if flag.starts_with('-') => return Err(format!("{flag}: teach it to tests/docs/cargo.rs")),
            filter => told.filters.push(filter),
        }
    }
    Ok(told)
}

fn run(words: &[&str], targets: &[Target]) -> Result<(), String> {
    let at = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    let (mut package, mut program) = (None, None);
    let mut before = words[..at].iter();
    while let Some(word) = before.next() {
        match *word {
            "-p" | "--package" => package = before.next().copied(),
            "--bin" => program = before.next().copied(),
            "-q" | "--quiet" | "--locked" => {}
            word => return Err(format!("{word}: teach it to tests/docs/cargo.rs")),
        }
    }
    let fits = |target: &&Target| {
        let named = program.is_none_or(|program| target.name == program);
        target.kind == "bin" && named && package.is_none_or(|package| target.package == package)
    };
    let programs: Vec<&Target> = targets.iter().filter(fits).collect();
    let [program] = programs[..] else { return Err(format!("{} programs fit", programs.len())) };
    takes(&program.name, words.get(at + 1..).unwrap_or_default())
}

/// Whether a program takes these arguments.
fn takes(program: &str, arguments: &[&str]) -> Result<(), String> {
    match program {
        "demo" => {
            let parsed = devkit::demo::Arguments::try_parse_from([&["demo"], arguments].concat());
            parsed.map(drop).map_err(|error| error.to_string())
        }
        // It says how it is used, unless something before that is wrong.
        "zitadel-actions-operator" => {
            let mut operator = Command::new(env!("CARGO_BIN_EXE_zitadel-actions-operator"));
            let output = operator.args(arguments).arg("--help").output().unwrap();
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        }
        _ => {
            let (_, file) = EXERCISED.iter().find(|(name, _)| *name == program).ok_or("nobody says who runs it")?;
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            let says = |word: &&str| text.contains(&format!("\"{word}\"")) || text.contains(&format!("{word}\""));
            if arguments.iter().all(says) { Ok(()) } else { Err(format!("{file} does not run it so")) }
        }
    }
}

/// The names of the tests of a target, as its sources have them. What a macro makes, and modules within a file, are left out.
fn names(source: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // The root of a target may have any name, and its modules are beside it.
    collect(source, source.parent().unwrap(), "", &mut found);
    found
}

fn collect(file: &Path, folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (mut is_test, mut path) = (false, None);
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            path = Some(folder.join(rest.trim_end_matches("\"]")));
        }
        is_test |= ["#[test]", "#[tokio::test", "#[rstest"].iter().any(|attribute| line.starts_with(attribute));
        let words: Vec<&str> = line.split_whitespace().filter(|word| !matches!(*word, "pub" | "async")).collect();
        match words[..] {
            ["mod", name] if name.ends_with(';') => {
                let name = name.trim_end_matches(';');
                let below = folder.join(name);
                let usual = [below.with_extension("rs"), below.join("mod.rs")];
                let file = path.take().or_else(|| usual.into_iter().find(|file| file.exists())).unwrap();
                collect(&file, &below, &format!("{prefix}{name}::"), found);
            }
            ["fn", name, ..] if std::mem::take(&mut is_test) => {
                found.insert(format!("{prefix}{}", name.split(['(', '<']).next().unwrap()));
            }
            _ => {}
        }
        // Tests that are made at run time are named in the call that makes them.
        let strings = line.split('"').skip(1).step_by(2);
        found.extend(strings.filter(|text| text.starts_with("faults_")).map(str::to_owned));
    }
}

/// Every command of cargo's in the documents, with its place.
fn all() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for document in documents() {
        for block in document.blocks().iter().filter(|block| block.is_shell()) {
            let place = format!("{}:{}", document.path, block.line);
            found.extend(commands(&block.text).into_iter().map(|command| (place.clone(), command)));
        }
        let spoken = document.code().into_iter().map(|(line, code)| (format!("{}:{line}", document.path), code));
        found.extend(spoken);
    }
    found
}

/// The words of a command, without the variables before it.
pub fn words(command: &str) -> Vec<&str> {
    let is_set = |word: &&str| {
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    command.split_whitespace().skip_while(is_set).collect()
}

#[test]
fn every_command_of_cargo_names_what_exists() {
    let targets = targets();
    let all: Vec<(String, String)> = all().into_iter().filter(|(_, command)| is_judged(&words(command))).collect();
    let judged = all.iter().filter_map(|(place, command)| {
        wrong(&words(command), &targets).map(|why| format!("{place}: {command}: {why}"))
    });
    let bad: Vec<String> = judged.collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(all.len() > 40, "{} commands: the documents were read", all.len());
    println!("{} commands of cargo", all.len());
}

#[test]
fn commands_of_cargo_are_judged() {
    let targets = targets();
    for good in [
        "cargo test",
        "cargo test faults -- --nocapture",
        "A=1 cargo test --test docs reference",
        "cargo test --test NAME",
        "cargo test -p zitadel-actions-operator --lib plan::",
        "cargo demo --once",
        "cargo clippy --workspace",
    ] {
        assert_eq!(wrong(&words(good), &targets), None, "{good}");
    }
    for bad in [
        "cargo test --test doc",
        "cargo test --test",
        "cargo test -p operator",
        "cargo test no_such_test",
        "cargo test --test docs -- --nocapture no_such_test",
        "cargo test --test docs -- --shown",
        "cargo demo --twice",
        "cargo run -p devkit --bin controlplane -- run",
        "cargo run -p devkit --bin control-plane -- walk",
        "cargo run -p zitadel-actions-operator -- crds --writes",
        "cargo clippy --everything",
    ] {
        assert!(wrong(&words(bad), &targets).is_some(), "{bad}");
    }
}
