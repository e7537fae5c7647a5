//! The modelled API server: every write is conditional on resourceVersion, and there is a user.

use super::state::{Object, Settings, Spec, Status, World};

/// Why a write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Conflict,
    Gone,
}

impl World {
    /// A new object in this slot.
    pub fn add_object(&mut self, slot: u8, settings: Settings) {
        let object = Object {
            slot,
            uid: self.next_uid,
            version: self.next_version,
            generation: 1,
            born: self.now,
            spec: Spec { settings, retain: false },
            deleting: false,
            finalized: false,
            claim: None,
            bounded: 0,
            status: Status::default(),
        };
        self.next_uid += 1;
        self.next_version += 1;
        self.objects[usize::from(slot)] = Some(object);
    }

    /// The object of this uid, as it is now.
    pub fn object(&self, of: &Object) -> Option<Object> {
        self.objects[usize::from(of.slot)].filter(|object| object.uid == of.uid)
    }

    /// Writes what `change` says, if nobody has written since `seen`; `blindly` breaks that condition.
    pub fn write(&mut self, seen: &Object, blindly: bool, change: impl FnOnce(&mut Object)) -> Result<Object, Refused> {
        let Some(current) = &mut self.objects[usize::from(seen.slot)] else { return Err(Refused::Gone) };
        if current.uid != seen.uid || (current.version != seen.version && !blindly) {
            return Err(Refused::Conflict);
        }
        let before = *current;
        change(current);
        if *current != before {
            current.version = self.next_version;
            self.next_version += 1;
        }
        let written = *current;
        if written.deleting && !written.finalized {
            self.objects[usize::from(seen.slot)] = None;
        }
        Ok(written)
    }

    /// The user changes the spec.
    pub fn edit(&mut self, slot: u8, change: impl FnOnce(&mut Spec)) {
        if let Some(object) = &mut self.objects[usize::from(slot)] {
            change(&mut object.spec);
            object.generation += 1;
            object.version = self.next_version;
            self.next_version += 1;
        }
    }

    /// Somebody writes a status by hand, on an object for which nothing is done yet.
    pub fn tamper(&mut self, slot: usize, status: Status) -> bool {
        let Some(object) = self.objects[slot].as_mut().filter(|object| object.claim.is_none()) else { return false };
        if object.status.id.is_some() {
            return false;
        }
        object.status = status;
        object.version = self.next_version;
        self.next_version += 1;
        true
    }

    /// A restored object has its finalizer.
    pub fn finalize(&mut self, slot: usize) -> bool {
        self.objects[slot].as_mut().is_some_and(|object| {
            object.finalized = true;
            true
        })
    }

    /// The user deletes the object.
    pub fn ask_deletion(&mut self, slot: u8) {
        let Some(object) = &mut self.objects[usize::from(slot)] else { return };
        if object.finalized {
            object.deleting = true;
            object.generation += 1;
            object.version = self.next_version;
            self.next_version += 1;
        } else {
            self.objects[usize::from(slot)] = None;
        }
    }

    /// Renumbers resourceVersions by rank: only their order and equality mean something.
    pub fn normalise(&mut self) {
        let mut known: Vec<u8> = Vec::with_capacity(8);
        self.each_object(&mut |object| {
            if !known.contains(&object.version) {
                known.push(object.version);
            }
        });
        known.sort_unstable();
        self.each_object(&mut |object| {
            let rank = known.binary_search(&object.version).unwrap();
            object.version = u8::try_from(rank).unwrap() + 1;
        });
        self.next_version = u8::try_from(known.len()).unwrap() + 1;
        self.late.sort_unstable();
    }

    fn each_object(&mut self, visit: &mut dyn FnMut(&mut Object)) {
        self.objects.iter_mut().flatten().for_each(&mut *visit);
        for replica in &mut self.replicas {
            replica.cache.iter_mut().flatten().for_each(&mut *visit);
            replica.memory.iter_mut().flatten().for_each(&mut *visit);
            replica.pass.iter_mut().for_each(|pass| visit(&mut pass.object));
            for task in &mut replica.tasks {
                visit(&mut task.base);
                if let super::state::Work::Committing(_, _, object) = &mut task.work {
                    visit(object);
                }
            }
        }
    }
}
