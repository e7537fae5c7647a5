//! `check`: says, without a cluster, what the API server and the operator would have against a manifest.
//!
//! Reading, judging and looking across objects are the rooms below; here they are put together and told. May import
//! `api` alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

mod cross;
mod go_url;
pub(super) mod judge;
mod rules;
mod source;
mod tree;

use cross::{Found, Identity};
use judge::{Flaw, Judge, Verdict};
use source::Source;
use tree::{Document, step};

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Manifests: files, folders (every *.yaml, *.yml and *.json below them), or - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// How the report looks: text for people, json for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    output: Output,

    /// Count a connectionRef whose connection is not among the files as a finding, not as a note
    #[arg(long)]
    strict_references: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// One line of a report.
#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    line: u64,
    /// Kind, namespace and name; empty for a document that cannot be read.
    object: String,
    field: String,
    message: String,
}

/// What a run found. The names of its fields are those of `--output json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    findings: Vec<Finding>,
    /// What may be right; never counts.
    notes: Vec<Finding>,
    files: usize,
    /// Objects of this operator's kinds.
    checked: usize,
    /// Documents of other kinds.
    skipped: usize,
}

/// One object, and where it is.
struct Object {
    file: String,
    value: Value,
    lines: BTreeMap<String, u64>,
}

impl Object {
    /// The finding about a field of this object. A field that is absent has the line of what it is missing from.
    fn finding(&self, flaw: &Flaw) -> Finding {
        let identity = Identity::of(&self.value).to_string();
        Finding {
            file: self.file.clone(),
            line: self.line(&flaw.pointer),
            object: identity.trim().to_owned(),
            field: flaw.field(),
            message: flaw.message.clone(),
        }
    }

    fn line(&self, pointer: &str) -> u64 {
        let mut at = pointer;
        loop {
            match (self.lines.get(at), at.rsplit_once('/')) {
                (Some(line), _) => return *line,
                (None, Some((above, _))) => at = above,
                (None, None) => return 1,
            }
        }
    }
}

impl Check {
    /// Checks and tells. 0 is nothing to find fault with, 1 findings, 2 files that cannot be read.
    pub(super) fn run(&self) -> ExitCode {
        let report = source::read(&self.files).and_then(|sources| self.report(&sources));
        let told = report.and_then(|report| self.tell(&report).map(|()| report.findings.is_empty()));
        match told {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => super::usage(&format!("error: {error:#}")),
        }
    }

    fn report(&self, sources: &[Source]) -> anyhow::Result<Report> {
        let judge = Judge::new()?;
        let mut report = Report { files: sources.len(), ..Report::default() };
        let mut objects = Vec::new();
        let read: Vec<_> = sources.iter().flat_map(|source| objects_of(source, &mut report.findings)).collect();
        for object in read {
            match judge.judge(&object.value)? {
                Verdict::Skipped => report.skipped += 1,
                Verdict::Judged(flaws) => {
                    let mut found: Vec<_> = flaws.iter().map(|flaw| object.finding(flaw)).collect();
                    found.sort_by_key(|finding| finding.line);
                    report.findings.extend(found);
                    objects.push(object);
                }
            }
        }
        report.checked = objects.len();
        let values: Vec<_> = objects.iter().map(|object| &object.value).collect();
        let place = |index: usize| format!("{}:{}", objects[index].file, objects[index].line("/metadata/name"));
        for found in cross::look(&values, place) {
            match found {
                Found::Absent(index, flaw) if !self.strict_references => {
                    report.notes.push(objects[index].finding(&flaw));
                }
                Found::Clash(index, flaw) | Found::Absent(index, flaw) => {
                    report.findings.push(objects[index].finding(&flaw));
                }
            }
        }
        Ok(report)
    }

    fn tell(&self, report: &Report) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        match self.output {
            Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(report)?)?,
            Output::Text => {
                for (findings, mark) in [(&report.findings, ""), (&report.notes, "note: ")] {
                    for Finding { file, line, object, field, message } in findings {
                        let object = if object.is_empty() { String::new() } else { format!("{object}: ") };
                        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
                        writeln!(out, "{file}:{line}: {mark}{object}{field}{message}")?;
                    }
                }
                let Report { findings, notes, files, checked, skipped } = report;
                let (findings, notes) = (findings.len(), notes.len());
                writeln!(
                    out,
                    "{findings} findings, {notes} notes; {checked} objects checked in {files} files, {skipped} documents of \
                     other kinds skipped"
                )?;
            }
        }
        Ok(())
    }
}

/// The objects of a file, with lists taken apart. What cannot be read becomes a finding.
fn objects_of(source: &Source, findings: &mut Vec<Finding>) -> Vec<Object> {
    let mut objects = Vec::new();
    for document in tree::documents(&source.text) {
        match document {
            Ok(Document { value, lines }) => {
                let object = Object { file: source.name.clone(), value, lines };
                unpack(object, &mut objects);
            }
            Err(broken) => findings.push(Finding {
                file: source.name.clone(),
                line: broken.line,
                object: String::new(),
                field: String::new(),
                message: format!("this is no YAML that can be read: {}", broken.message),
            }),
        }
    }
    objects
}

/// An object, or those of a list: `kubectl` takes `kind: List` and a list of one kind alike.
fn unpack(object: Object, objects: &mut Vec<Object>) {
    let list = object.value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let Some(items) = object.value["items"].as_array().filter(|_| list) else {
        objects.push(object);
        return;
    };
    for (index, value) in items.iter().enumerate() {
        let prefix = step("/items", &index.to_string());
        let below = |(pointer, line): (&String, &u64)| Some((pointer.strip_prefix(&prefix)?.to_owned(), *line));
        // A pointer of item 10 begins as one of item 1 does.
        let own = |(pointer, _): &(String, u64)| pointer.is_empty() || pointer.starts_with('/');
        let lines = object.lines.iter().filter_map(below).filter(own).collect();
        unpack(Object { file: object.file.clone(), value: value.clone(), lines }, objects);
    }
}
