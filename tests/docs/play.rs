//! Plays a document: sets its scene, runs its blocks in order, and compares what they print with what it shows.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::markdown::{Block, Document, Mark, documents};
use crate::scenes::{SCENES, Scene};
use crate::shell::{agrees, steps};
use crate::site::Site;

/// What takes longer is told.
const SLOW: Duration = Duration::from_secs(5);

/// Whether a block is run.
pub fn is_run(block: &Block) -> bool {
    block.is_shell() && !matches!(block.mark, Some(Mark::Needs(_)))
}

/// The text with what stands for the placeholders. A name is a whole word.
fn substituted(text: &str, substitutions: &[(String, String)], used: &mut [bool]) -> String {
    let mut text = text.to_owned();
    for ((from, to), used) in substitutions.iter().zip(used) {
        let mut fresh = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(from.as_str()) {
            let (before, after) = (&rest[..at], &rest[at + from.len()..]);
            let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
            let inside = word(before.chars().next_back()) || word(after.chars().next());
            fresh.push_str(before);
            fresh.push_str(if inside { from } else { to });
            *used |= !inside;
            rest = after;
        }
        fresh.push_str(rest);
        text = fresh;
    }
    text
}

/// Plays it; every block has to do what the document says.
pub fn play(scene: &Scene, site: &mut Site) {
    let document = Document::read(Path::new(scene.document));
    let blocks: Vec<Block> = document.blocks().into_iter().filter(is_run).collect();
    assert!(!blocks.is_empty() || !scene.spoken.is_empty(), "{} has nothing that is run", scene.document);
    (scene.prepare)(site);
    let substitutions = (scene.substitutions)(site);
    let mut used = vec![false; substitutions.len()];
    let mut hooks: Vec<_> = scene.before.iter().collect();
    for block in blocks {
        let place = format!("{}:{}", scene.document, block.line);
        for step in steps(&block.text) {
            // In the order of the document: one hook may come for each of two equal commands.
            while let Some((_, hook)) = hooks.first().filter(|(command, _)| step.command.contains(command)) {
                hook(site);
                hooks.remove(0);
            }
            let command = substituted(&step.command, &substitutions, &mut used);
            let begun = Instant::now();
            let said = site.run(&command, scene.folder);
            if begun.elapsed() > SLOW {
                println!("{:5.1} s  {place}", begun.elapsed().as_secs_f64());
            }
            let fails = matches!(block.mark, Some(Mark::Fails(_)));
            assert!(
                fails == (said.code != 0),
                "{place}: ended with {}, and should {}:\n{command}\n{}\n{}",
                said.code,
                if fails { "fail" } else { "succeed" },
                said.text,
                site.explain()
            );
            if let Some(shown) = &step.shown {
                let shown = substituted(shown, &substitutions, &mut used);
                assert!(agrees(&shown, &said.text), "{place}: shows\n{shown}\nand it is\n{}\n{command}", said.text);
            }
        }
    }
    let hooks: Vec<_> = hooks.iter().map(|(command, _)| command).collect();
    assert!(hooks.is_empty(), "{}: no block for {hooks:?}", scene.document);
    let idle: Vec<_> = substitutions.iter().zip(used).filter(|(_, used)| !used).map(|((from, _), _)| from).collect();
    assert!(idle.is_empty(), "{}: nothing to substitute: {idle:?}", scene.document);
    (scene.after)(site);
    for command in scene.spoken {
        let said = site.run(command, scene.folder);
        assert!(said.code == 0, "{}: {command}:\n{}\n{}", scene.document, said.text, site.explain());
    }
}

#[test]
fn every_document_has_a_scene() {
    let missing: Vec<String> = documents()
        .iter()
        .filter(|document| document.blocks().iter().any(is_run))
        .map(|document| document.path.clone())
        .filter(|path| !SCENES.iter().copied().flatten().any(|scene| scene.document == path))
        .collect();
    assert!(missing.is_empty(), "give these a scene in tests/docs/scenes.rs, or mark their blocks: {missing:?}");
}

#[test]
fn placeholders_are_whole_words() {
    let substitutions = [("NAME".to_owned(), "a".to_owned())];
    let mut used = [false];
    assert_eq!(substituted("NAMESPACE RENAME", &substitutions, &mut used), "NAMESPACE RENAME");
    assert!(!used[0]);
    assert_eq!(substituted("target/NAME NAME", &substitutions, &mut used), "target/a a");
    assert!(used[0]);
}
