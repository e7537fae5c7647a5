//! A Git repository on disk, as Argo CD reads it by a file:// URL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository with one branch.
pub struct Repository {
    dir: PathBuf,
}

impl Repository {
    /// In a new folder, which somebody else removes.
    pub fn new(dir: PathBuf) -> Self {
        fs::create_dir(&dir).unwrap();
        let repository = Self { dir };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.dir.display())
    }

    /// Writes a file; it is not yet committed.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().expect("a path has a parent")).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.join(path)).unwrap()
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.dir.join(path)).unwrap();
    }

    /// Copies a folder of the project to the same place in the repository.
    pub fn copy(&self, folder: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().expect("names are UTF-8"));
            if entry.file_type().unwrap().is_dir() {
                self.copy(&path);
            } else {
                self.write(&path, &fs::read_to_string(entry.path()).unwrap());
            }
        }
    }

    /// Commits everything and tells the revision.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", message]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.current_dir(&self.dir).args(arguments);
        // Whatever this machine or a surrounding git says is nothing to this repository.
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        for name in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"] {
            git.env_remove(name);
        }
        let output = git.output().expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
