//! The modelled ZITADEL: one event store, whose newest state is the write side, and whose beginning, as far as it is
//! projected, is the read side.

use std::ops::Range;

use zitadel_actions_operator::zitadel::Api;

use super::convert::same_name;
use super::state::{Call, Change, Date, Event, Failure, Id, Origin, Remote, Settings, Uid, Version, What, World};

/// The state of a target after these events.
pub fn alive(log: &[Event], id: Id) -> Option<Settings> {
    match log.iter().rev().find(|event| event.id == id)?.what {
        What::Added(settings) | What::Changed(settings) => Some(settings),
        What::Removed => None,
    }
}

/// Every target that exists after these events, and for which object it was created.
pub fn all(log: &[Event]) -> impl Iterator<Item = (Id, Option<Uid>, Settings)> + '_ {
    let added = log.iter().filter(|event| matches!(event.what, What::Added(_)));
    added.filter_map(|event| Some((event.id, event.by, alive(log, event.id)?)))
}

/// For which object a target was created.
pub fn creator(log: &[Event], id: Id) -> Option<Uid> {
    log.iter().find(|event| event.id == id).and_then(|event| event.by)
}

fn at(log: &[Event], no: usize) -> Date {
    Date { tick: log[no].tick, no: u8::try_from(no).unwrap() }
}

/// Sequence and date of the newest event of a target.
pub fn newest(log: &[Event], id: Id) -> Option<(u8, Date)> {
    let count = log.iter().filter(|event| event.id == id).count();
    let last = log.iter().rposition(|event| event.id == id)?;
    Some((u8::try_from(count).unwrap(), at(log, last)))
}

/// Which event created a target.
pub fn birth(log: &[Event], id: Id) -> Option<usize> {
    log.iter().position(|event| event.id == id)
}

/// Who created a target.
pub fn origin(log: &[Event], id: Id) -> Option<Origin> {
    let no = birth(log, id)?;
    let What::Added(settings) = log[no].what else { return None };
    Some(Origin { settings, date: at(log, no), ours: log[no].by.is_some() })
}

/// The settings of a target as of an event; `None` also if a restore took the event away.
pub fn settings_at(log: &[Event], id: Id, date: Date) -> Option<Settings> {
    let until = usize::from(date.no);
    log.get(until).filter(|event| event.tick == date.tick)?;
    alive(&log[..=until], id)
}

fn version(log: &[Event], id: Id, api: Api) -> Version {
    let (sequence, changed) = newest(log, id).unwrap();
    Version { sequence: (api == Api::V3Alpha).then_some(sequence), changed }
}

impl World {
    /// The events that a search finds.
    pub fn told(&self) -> Range<usize> {
        let end = self.veil.map_or(self.log.len(), usize::from).min(self.log.len());
        usize::from(self.expired).min(end)..end
    }

    fn tells(&self, date: Date) -> bool {
        self.told().contains(&usize::from(date.no))
    }

    /// The newest event of a target, as far as it is told.
    pub fn history(&self, id: Id) -> Option<(u8, Date)> {
        newest(&self.log[..self.told().end], id).filter(|(_, date)| self.tells(*date))
    }

    /// Who created a target, as far as it is told.
    pub fn trace(&self, id: Id) -> Option<Origin> {
        origin(&self.log, id).filter(|origin| self.tells(origin.date))
    }

    fn name_taken(&self, name: u8, except: Option<Id>) -> bool {
        all(&self.log).any(|(id, _, settings)| Some(id) != except && same_name(settings.name, name))
    }

    fn append(&mut self, id: Id, what: What, by: Option<Uid>) -> Date {
        self.log.push(Event { id, what, by, tick: self.now });
        at(&self.log, self.log.len() - 1)
    }

    /// The create call.
    pub fn create(&mut self, settings: Settings, by: Option<Uid>) -> Result<(Id, Date), Failure> {
        if self.name_taken(settings.name, None) {
            return Err(Failure::Taken);
        }
        self.born += 1;
        let id = self.born;
        let date = self.append(id, What::Added(settings), by);
        Ok((id, date))
    }

    /// The update call; an empty one, or one that changes nothing, writes no event.
    pub fn update(&mut self, id: Id, change: Change, by: Option<Uid>, api: Api) -> Result<Version, Failure> {
        let Some(now) = alive(&self.log, id) else { return Err(Failure::Gone) };
        let next = Settings { name: change.name.unwrap_or(now.name), timeout: change.timeout.unwrap_or(now.timeout) };
        if self.name_taken(next.name, Some(id)) {
            return Err(Failure::Taken);
        }
        if next != now {
            self.append(id, What::Changed(next), by);
        }
        Ok(version(&self.log, id, api))
    }

    /// The delete call; a target that is gone counts as deleted.
    pub fn delete(&mut self, id: Id, by: Option<Uid>) {
        if alive(&self.log, id).is_some() {
            self.append(id, What::Removed, by);
        }
    }

    /// Carries out a call whose answer nobody waits for.
    pub fn carry_out(&mut self, call: Call, by: Option<Uid>, api: Api) {
        match call {
            Call::Create(settings) => drop(self.create(settings, by)),
            Call::Update(id, change) => drop(self.update(id, change, by, api)),
            Call::Delete(id) => self.delete(id, by),
        }
    }

    fn projection(&self) -> Vec<Event> {
        self.log[..usize::from(self.shown)].to_vec()
    }

    /// The get call: the read side.
    pub fn get(&self, id: Id, api: Api) -> Option<Remote> {
        let shown = self.projection();
        let settings = alive(&shown, id)?;
        let born = shown.iter().position(|event| event.id == id)?;
        // Dates stay those of the whole store: a prefix has the same positions.
        let created = (api == Api::V2).then(|| at(&shown, born));
        Some(Remote { id, settings, version: version(&shown, id, api), created })
    }

    /// The list call with a name: the read side.
    pub fn find(&self, name: u8, api: Api) -> Option<Remote> {
        let shown = self.projection();
        let named = all(&shown).find(|(_, _, settings)| same_name(settings.name, name));
        self.get(named?.0, api)
    }

    /// The newest date that the read side shows of any target.
    pub fn survey(&self, api: Api) -> Option<Date> {
        let shown = self.projection();
        all(&shown).filter_map(|(id, _, _)| self.get(id, api)).map(|remote| remote.version.changed).max()
    }
}
