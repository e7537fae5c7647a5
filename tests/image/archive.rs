//! An image out of its archive: the files of its layers in a folder, its configuration, what its program carries.

use std::path::{Path, PathBuf};
use std::process::Command;

use devkit::image::Image;
use serde_json::Value;
use tempfile::TempDir;

/// `e_machine` of 64-bit ARM.
pub const AARCH64: u16 = 183;
const PT_INTERP: u32 = 3;

/// An unpacked image.
pub struct Archive {
    dir: TempDir,
    manifest: Value,
}

impl Archive {
    pub fn open(image: &Image) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        untar(&image.archive(), dir.path());
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("manifest.json")).unwrap()).unwrap();
        let archive = Self { dir, manifest: manifest[0].clone() };
        for layer in archive.layers() {
            untar(&layer, &archive.root());
        }
        archive
    }

    /// The archives that make it up, which are not compressed.
    pub fn layers(&self) -> Vec<PathBuf> {
        let names = self.manifest["Layers"].as_array().unwrap();
        names.iter().map(|name| self.dir.path().join(name.as_str().unwrap())).collect()
    }

    /// The folder that is `/` in the image.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn config(&self) -> Value {
        let path = self.dir.path().join(self.manifest["Config"].as_str().unwrap());
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    pub fn repository_tag(&self) -> &str {
        self.manifest["RepoTags"][0].as_str().unwrap()
    }

    /// Every file, by its path below `/`, in order.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        walk(&self.root(), &mut |path| {
            files.push(path.strip_prefix(self.root()).unwrap().to_str().unwrap().to_owned());
        });
        files.sort();
        files
    }

    /// The bytes of all files.
    pub fn size(&self) -> u64 {
        let mut size = 0;
        walk(&self.root(), &mut |path| size += std::fs::metadata(path).unwrap().len());
        size
    }

    /// The packages that cargo-auditable noted in the program.
    pub fn dependencies(&self) -> Vec<Value> {
        let program = self.root().join("zitadel-actions-operator");
        let noted = auditable_info::json_from_file(&program, auditable_info::Limits::default()).unwrap();
        serde_json::from_str::<Value>(&noted).unwrap()["packages"].as_array().unwrap().clone()
    }
}

fn untar(archive: &Path, to: &Path) {
    let status = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(to).status().unwrap();
    assert!(status.success(), "{}", archive.display());
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// `e_machine` of a 64-bit little-endian ELF file.
pub fn machine(elf: &[u8]) -> u16 {
    assert_eq!(elf[..6], *b"\x7fELF\x02\x01");
    u16::from_le_bytes(elf[18..20].try_into().unwrap())
}

/// Whether the kernel would start a dynamic linker for it.
pub fn has_interpreter(elf: &[u8]) -> bool {
    let number = |at: usize, size: usize| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&elf[at..at + size]);
        usize::try_from(u64::from_le_bytes(bytes)).unwrap()
    };
    let (headers, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    assert!(count > 0);
    (0..count).any(|index| number(headers + index * size, 4) == PT_INTERP as usize)
}
