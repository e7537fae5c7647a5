//! Rules about fenced blocks and their marks, and the list of those that are not run.

use crate::markdown::{Block, Document, Mark, documents};

/// Programs that a scene has: a block of these alone has to be run, unless its reason names what is missing.
pub const AT_HAND: [&str; 4] = ["kubectl", "helm", "zitadel-actions-operator", "cd"];

/// What a reason may say that such a block needs.
pub const ELSEWHERE: [&str; 9] =
    ["image registry", "release", "node", "real ZITADEL", "Argo CD", "Flux", "Velero", "another cluster", "Prometheus"];

/// The programs that a block calls, by the first word of each line that begins a command.
fn programs(block: &Block) -> Vec<String> {
    let mut found = Vec::new();
    let mut goes_on = false;
    for line in block.text.lines() {
        let begins = !goes_on;
        goes_on = line.trim_end().ends_with('\\');
        let line = line.strip_prefix("$ ").unwrap_or(line).trim();
        let first = line.split_whitespace().find(|word| !word.contains('='));
        if let (true, Some(word)) = (begins && !line.starts_with('#'), first) {
            found.push(word.to_owned());
        }
    }
    found
}

/// What is wrong with a block, if anything.
fn wrong(block: &Block) -> Option<String> {
    if block.language.is_empty() {
        return Some("a fence without a language: sh, console, yaml, text, ...".into());
    }
    let Some(mark) = &block.mark else { return None };
    if !block.is_shell() {
        return Some("a mark before a block that is not for a shell".into());
    }
    let (Mark::Needs(reason) | Mark::Fails(reason)) = mark;
    if reason.len() < 5 {
        return Some("a mark without a reason".into());
    }
    let idle = programs(block).iter().all(|program| AT_HAND.contains(&program.as_str()));
    let excused = ELSEWHERE.iter().any(|thing| reason.contains(thing));
    (matches!(mark, Mark::Needs(_)) && idle && !excused)
        .then(|| format!("nothing in it needs {reason:?}: run it, or name one of {ELSEWHERE:?}"))
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let (mut run, mut told, mut bad) = (0, Vec::new(), Vec::new());
    for document in documents() {
        for block in document.blocks() {
            let place = format!("{}:{}", document.path, block.line);
            if let Some(why) = wrong(&block) {
                bad.push(format!("{place}: {why}"));
            }
            match &block.mark {
                Some(Mark::Needs(reason)) => told.push(format!("{place}: needs {reason}")),
                Some(Mark::Fails(reason)) => println!("{place}: has to fail: {reason}"),
                None => {}
            }
            run += usize::from(block.is_shell() && !matches!(block.mark, Some(Mark::Needs(_))));
        }
    }
    println!("{run} blocks are run; {} are not:\n{}", told.len(), told.join("\n"));
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn marks_are_judged() {
    let block = |text: &str, mark: &str| {
        let text = format!("<!-- needs: {mark} -->\n```sh\n{text}\n```\n");
        Document::parse("a", &text).blocks().remove(0)
    };
    assert!(wrong(&block("kubectl get pods", "a while")).is_some());
    assert!(wrong(&block("kubectl logs x", "a node")).is_none());
    assert!(wrong(&block("docker build .", "docker")).is_none());
    assert!(wrong(&block("docker build .", "")).is_some());
    assert!(wrong(&Block { language: String::new(), mark: None, ..block("a", "docker") }).is_some());
}
