//! Links between the documents, and paths that they name: each leads to something that exists.

use std::path::{Component, Path, PathBuf};

use crate::markdown::{Document, documents, root};

/// How the chart's README, which is shown elsewhere, names a file of this repository.
const HERE: &str = "https://github.com/zitadel-actions/zitadel-actions-operator/blob/main/";

/// Folders whose files are named in prose.
const FOLDERS: [&str; 9] =
    ["src/", "tests/", "docs/", "devkit/", "crds/", "charts/", "examples/", "integrations/", ".github/"];

/// What is wrong with a link of a document, if anything.
fn wrong(document: &Document, link: &str) -> Option<String> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file.strip_prefix(HERE) {
        Some(path) => PathBuf::from(path),
        None if file.contains("://") || file.starts_with("mailto:") => return None,
        None if file.is_empty() => PathBuf::from(&document.path),
        None => plain(&Path::new(&document.path).parent().unwrap().join(file)),
    };
    if !root().join(&target).exists() {
        return Some(format!("there is no {}", target.display()));
    }
    if anchor.is_empty() {
        return None;
    }
    let anchors = Document::read(&target).anchors();
    (!anchors.iter().any(|known| known == anchor)).then(|| format!("{} has no heading #{anchor}", target.display()))
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{} leaves the repository", path.display()),
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_link_leads_somewhere() {
    let (mut count, mut dead) = (0, Vec::new());
    for document in documents() {
        for (line, link) in document.links() {
            count += 1;
            if let Some(why) = wrong(&document, &link) {
                dead.push(format!("{}:{line}: {link}: {why}", document.path));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    assert!(count > 100, "{count} links: the documents were read");
    println!("{count} links");
}

#[test]
fn every_file_that_is_named_exists() {
    let (mut count, mut dead) = (0, Vec::new());
    for document in documents() {
        for (line, code) in document.code() {
            let path = code.split([' ', ':', '#']).next().unwrap_or_default();
            let is_path = FOLDERS.iter().any(|folder| path.starts_with(folder)) && !path.contains(['*', '{', '$']);
            if is_path {
                count += 1;
                // In the chart's own documents, paths are also those of the chart.
                let own = root().join(Path::new(&document.path).parent().unwrap()).join(path);
                if !root().join(path).exists() && !own.exists() {
                    dead.push(format!("{}:{line}: {path}", document.path));
                }
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    assert!(count > 50, "{count} paths: the documents were read");
    println!("{count} paths");
}

#[test]
fn a_dead_link_is_told() {
    let document = Document::read(Path::new("docs/install.md"));
    for link in ["no.md", "../README.md#no-such-heading", "#nothing", "../docs/decisions/0000.md"] {
        assert!(wrong(&document, link).is_some(), "{link}");
    }
    for link in ["uninstall.md", "../README.md#install", "#rights", "https://example.com/x#y"] {
        assert_eq!(wrong(&document, link), None);
    }
}

/// Every document can be found from the index, and the index from the README.
#[test]
fn the_index_has_every_document() {
    let index = Document::read(Path::new("docs/README.md"));
    let linked: Vec<String> =
        index.links().into_iter().map(|(_, link)| link.split('#').next().unwrap_or_default().to_owned()).collect();
    let missing: Vec<String> = documents()
        .into_iter()
        .filter_map(|document| document.path.strip_prefix("docs/").map(str::to_owned))
        .filter(|path| path != "README.md" && !(path.starts_with("decisions/0")))
        .filter(|path| !linked.contains(path))
        .collect();
    assert!(missing.is_empty(), "docs/README.md does not link {missing:?}");
    let readme = Document::read(Path::new("README.md"));
    assert!(readme.links().iter().any(|(_, link)| link == "docs/README.md"), "README.md does not link docs/README.md");
}
