//! Reads the Markdown of this repository: headings with their anchors, links, and fenced blocks with their marks.
//!
//! Not a Markdown parser: it knows what these documents use, and a test below holds it to that. No cluster, no process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The folder of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where documents are. Their paths are told from the root.
const PLACES: [&str; 7] = ["README.md", "CHANGELOG.md", "SECURITY.md", "docs", "charts", "integrations", "examples"];

/// A document.
#[derive(Debug)]
pub struct Document {
    /// Its path from the root, such as `docs/install.md`.
    pub path: String,
    lines: Vec<String>,
}

/// What a comment before a block says of it. It does not show on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// `<!-- needs: ... -->`: it cannot be run here, for want of this.
    Needs(String),
    /// `<!-- fails: ... -->`: it is run, and has to fail, because of this.
    Fails(String),
}

/// A fenced block.
#[derive(Debug, Clone)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// What stands after the fence.
    pub language: String,
    /// Its lines, without what indents them all.
    pub text: String,
    pub mark: Option<Mark>,
}

impl Block {
    /// Whether it is for a shell.
    pub fn is_shell(&self) -> bool {
        matches!(self.language.as_str(), "sh" | "bash" | "shell" | "console")
    }
}

/// Every document.
pub fn documents() -> Vec<Document> {
    let mut paths = Vec::new();
    for place in PLACES {
        collect(&root().join(place), &mut paths);
    }
    paths.sort();
    paths.iter().map(|path| Document::read(path.strip_prefix(root()).unwrap())).collect()
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "md") {
        found.push(path.to_owned());
    }
}

impl Document {
    /// Reads one, by its path from the root.
    pub fn read(path: &Path) -> Self {
        let text =
            std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(path.to_str().unwrap(), &text)
    }

    /// A document with this text.
    pub fn parse(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), lines: text.lines().map(str::to_owned).collect() }
    }

    /// The fenced blocks, in order.
    pub fn blocks(&self) -> Vec<Block> {
        let mut found = Vec::new();
        let mut lines = self.lines.iter().enumerate();
        while let Some((at, line)) = lines.next() {
            let Some(language) = line.trim_start().strip_prefix("```") else { continue };
            let indent = line.len() - line.trim_start().len();
            let mut text = String::new();
            let mut closed = false;
            for (_, line) in lines.by_ref() {
                if line.trim() == "```" {
                    closed = true;
                    break;
                }
                text.push_str(line.get(indent..).unwrap_or_default());
                text.push('\n');
            }
            assert!(closed, "{}:{}: a fence without an end", self.path, at + 1);
            let mark = self.mark_before(at);
            found.push(Block { line: at + 1, language: language.trim().to_owned(), text, mark });
        }
        found
    }

    fn mark_before(&self, at: usize) -> Option<Mark> {
        let before = self.lines.get(at.checked_sub(1)?)?.trim();
        let comment = before.strip_prefix("<!--")?.strip_suffix("-->")?.trim();
        let (kind, reason) = comment.split_once(':').unwrap_or((comment, ""));
        match kind {
            "needs" => Some(Mark::Needs(reason.trim().to_owned())),
            "fails" => Some(Mark::Fails(reason.trim().to_owned())),
            // A comment of another kind, such as the one that ends a table.
            _ => None,
        }
    }

    /// The lines outside of fenced blocks, with their numbers from 1.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut inside = false;
        let mut found = Vec::new();
        for (at, line) in self.lines.iter().enumerate() {
            if line.trim_start().starts_with("```") {
                inside = !inside;
            } else if !inside {
                found.push((at + 1, line.as_str()));
            }
        }
        found
    }

    /// The anchors of the headings, as GitHub makes them.
    pub fn anchors(&self) -> Vec<String> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let headings = self.prose().into_iter().filter_map(|(_, line)| {
            let text = line.trim_start_matches('#');
            (line.starts_with('#') && text.starts_with(' ')).then(|| text.trim())
        });
        headings
            .map(|heading| {
                let anchor = anchor(heading);
                let count = seen.entry(anchor.clone()).or_default();
                *count += 1;
                if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
            })
            .collect()
    }

    /// The targets of its links, with the number of the line.
    pub fn links(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (number, line) in self.prose() {
            let line = without_code(line);
            for (at, _) in line.match_indices("](") {
                let rest = &line[at + 2..];
                let target = rest.split(')').next().unwrap_or_default();
                found.push((number, target.to_owned()));
            }
        }
        found
    }

    /// What stands between single back ticks, with the number of the line on which it begins. It may go on on the next line
    /// of a paragraph.
    pub fn code(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for paragraph in self.paragraphs() {
            let mut begun: Option<(usize, String)> = None;
            for (number, line) in paragraph {
                if let Some((_, code)) = &mut begun {
                    code.push(' ');
                }
                for (at, part) in line.trim().split('`').enumerate() {
                    if at > 0 {
                        begun = match begun.take() {
                            None => Some((number, String::new())),
                            Some(code) => {
                                found.push(code);
                                None
                            }
                        };
                    }
                    if let Some((_, code)) = &mut begun {
                        code.push_str(part);
                    }
                }
            }
            assert!(begun.is_none(), "{}: a back tick without another: {begun:?}", self.path);
        }
        found
    }

    /// The lines outside of fenced blocks, by paragraph. Each row of a table, item of a list and heading is one.
    fn paragraphs(&self) -> Vec<Vec<(usize, &str)>> {
        let mut all: Vec<Vec<(usize, &str)>> = Vec::new();
        let mut last = 0;
        for (number, line) in self.prose() {
            let text = line.trim_start();
            let item = text.trim_start_matches(|c: char| c.is_ascii_digit());
            let begins = ["|", "#", "- ", "* "].iter().any(|mark| text.starts_with(mark))
                || (item != text && item.starts_with(". "));
            match all.last_mut() {
                Some(paragraph) if !begins && !text.is_empty() && number == last + 1 => paragraph.push((number, line)),
                _ => all.push(vec![(number, line)]),
            }
            last = if text.is_empty() { 0 } else { number };
        }
        all
    }
}

/// The anchor of a heading: lower case, without what is no letter, digit, hyphen or underscore, and a hyphen for each space.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The line without what stands between back ticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

#[test]
fn anchors_are_those_of_github() {
    for (heading, expected) in [
        ("Install", "install"),
        ("With `crds.keep=false`", "with-crdskeepfalse"),
        ("Where and from what it was built", "where-and-from-what-it-was-built"),
        ("Target: spec", "target-spec"),
        ("A few namespaces only", "a-few-namespaces-only"),
    ] {
        assert_eq!(anchor(heading), expected);
    }
}

#[test]
fn blocks_links_and_marks_are_found() {
    let text = "# A\n[x](y.md#z) `[no](link)`\n<!-- needs: a moon -->\n```sh\n# no heading\n[no](link)\n```\n\n- a\n  \
                ```yaml\n  b: c\n  ```\n# A\n";
    let document = Document::parse("a", text);
    let blocks = document.blocks();
    assert_eq!(blocks.len(), 2);
    assert_eq!((blocks[0].line, blocks[0].mark.clone()), (4, Some(Mark::Needs("a moon".into()))));
    assert_eq!((blocks[1].text.as_str(), blocks[1].is_shell()), ("b: c\n", false));
    assert_eq!(document.links(), [(2, "y.md#z".to_owned())]);
    assert_eq!(document.anchors(), ["a", "a-1"]);
}

#[test]
fn code_is_found_over_lines() {
    let text = "a `b c` and `d\ne` f\n- `g`\n| `h \\| i` | `j` |\n\n```sh\n`no`\n```\n1. `k` l `m\n   n`\n";
    let code: Vec<(usize, String)> = Document::parse("a", text).code();
    let code: Vec<(usize, &str)> = code.iter().map(|(number, code)| (*number, code.as_str())).collect();
    assert_eq!(code, [(1, "b c"), (1, "d e"), (3, "g"), (4, "h \\| i"), (4, "j"), (9, "k"), (9, "m n")]);
}
