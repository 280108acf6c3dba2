//! A machine of one process, whose power can be cut, whose card can lie, and whose every call can fail.
//!
//! What is written can be read at once (the page cache), and is on the medium for certain only after a
//! flush. A power cut leaves of all that was not flushed any part: writes are missing, in whatever order,
//! or torn at any byte. To make, to open, to remove and to rename a file are atomic and durable.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use carport::store::{Files, Part};
use redb::StorageBackend;
use tokio::sync::Notify;

/// What devices tear writes at.
const SECTOR: usize = 512;

/// Chance that is the same for the same seed: SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    /// Whether something of this probability happens.
    pub(crate) fn percent(&mut self, probability: usize) -> bool {
        self.below(100) < probability
    }

    /// Something, or with that probability nothing.
    pub(crate) fn maybe<T>(&mut self, probability: usize, make: impl FnOnce(&mut Chance) -> T) -> Option<T> {
        self.percent(probability).then(|| make(self))
    }

    /// Chance of its own.
    pub(crate) fn split(&mut self) -> Chance {
        Chance(self.next())
    }
}

/// Which call fails, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: u64,
    /// All later ones fail too.
    pub(crate) lasts: bool,
    /// Reads count and fail as well.
    pub(crate) reads: bool,
}

/// A disk. Clones are handles on the same one.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Mutex<Machine>>);

#[derive(Debug)]
struct Machine {
    files: Vec<File>,
    names: BTreeMap<Part, usize>,
    chance: Chance,
    /// How many flushes of a hundred do nothing.
    lies: usize,
    fault: Option<Fault>,
    calls: u64,
    refused: u64,
    /// Of one in so many writes and flushes an image is taken, as of a power cut before it.
    image_of_one_in: Option<usize>,
    images: Vec<Disk>,
    /// So many writes and flushes from now, the power goes.
    cut_in: Option<u64>,
    /// What a power cut has left: from then on every call fails.
    left: Option<Disk>,
    /// Rings when the power goes.
    bell: Arc<Notify>,
    /// How many bytes are free; nobody can tell until it is said.
    free: Option<u64>,
    is_torn: bool,
    mark: usize,
    flushed: usize,
}

/// A file, whatever it is called.
#[derive(Clone, Debug, Default)]
struct File {
    /// What the medium holds for certain.
    durable: Arc<Vec<u8>>,
    /// What is read.
    seen: Arc<Vec<u8>>,
    /// What came between, and at which mark.
    pending: Vec<(usize, Op)>,
    is_open: bool,
}

#[derive(Clone, Debug)]
enum Op {
    SetLen(usize),
    Write(usize, Vec<u8>),
}

impl Op {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Op::SetLen(len) => bytes.resize(*len, 0),
            Op::Write(offset, data) => {
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
    }

    /// What of a write may reach the medium when the power fails: its beginning, or any of its sectors.
    fn torn(&self, chance: &mut Chance) -> Vec<Op> {
        let Op::Write(offset, data) = self else { return Vec::new() };
        let begin = |len: usize| vec![Op::Write(*offset, data[..len].to_vec())];
        match chance.below(3) {
            0 => begin(chance.below(data.len())),
            1 => begin(chance.below(data.len()) / SECTOR * SECTOR),
            _ => {
                let sectors = data.chunks(SECTOR).zip((*offset..).step_by(SECTOR));
                sectors.filter(|_| chance.percent(50)).map(|(sector, at)| Op::Write(at, sector.to_vec())).collect()
            }
        }
    }
}

impl File {
    fn do_now(&mut self, mark: usize, op: Op) {
        op.apply(Arc::make_mut(&mut self.seen));
        self.pending.push((mark, op));
    }

    /// What is there after a power cut, and whether something is there in part, or without what was
    /// written before it.
    fn after_power_cut(&self, mood: usize, chance: &mut Chance) -> (File, bool) {
        let mut durable = self.durable.clone();
        let in_order = chance.below(self.pending.len() + 1);
        let (mut is_torn, mut is_missing) = (false, false);
        for (place, (_, op)) in self.pending.iter().enumerate() {
            let fate = match mood {
                0 => Fate::Lost,
                1 => Fate::Whole,
                2 if place < in_order => Fate::Whole,
                2 if place > in_order => Fate::Lost,
                _ => [Fate::Lost, Fate::Whole, Fate::Torn][chance.below(3)],
            };
            let parts = match fate {
                Fate::Lost => Vec::new(),
                Fate::Whole => vec![op.clone()],
                Fate::Torn => op.torn(chance),
            };
            if matches!(op, Op::Write(..)) {
                is_torn |= fate == Fate::Torn || (fate == Fate::Whole && is_missing);
                is_missing |= fate != Fate::Whole;
            }
            for part in parts {
                part.apply(Arc::make_mut(&mut durable));
            }
        }
        (File { seen: durable.clone(), durable, ..File::default() }, is_torn)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lost,
    Whole,
    Torn,
}

impl Machine {
    fn new(files: Vec<File>, names: BTreeMap<Part, usize>, chance: Chance) -> Machine {
        Machine {
            files,
            names,
            chance,
            lies: 0,
            fault: None,
            calls: 0,
            refused: 0,
            image_of_one_in: None,
            images: Vec::new(),
            cut_in: None,
            left: None,
            bell: Arc::default(),
            free: None,
            is_torn: false,
            mark: 0,
            flushed: 0,
        }
    }

    fn after_power_cut(&mut self) -> Machine {
        let mut chance = self.chance.split();
        let mood = chance.below(6);
        let mut is_torn = self.is_torn;
        let mut files = Vec::with_capacity(self.files.len());
        for (number, file) in self.files.iter().enumerate() {
            let (file, file_is_torn) = file.after_power_cut(mood, &mut chance);
            is_torn |= file_is_torn && self.is_journal(number);
            files.push(file);
        }
        let Machine { lies, mark, flushed, .. } = *self;
        Machine { lies, is_torn, mark, flushed, ..Machine::new(files, self.names.clone(), chance) }
    }

    fn goes_off(&mut self) {
        let left = Disk::of(self.after_power_cut());
        self.left = Some(left);
        self.bell.notify_one();
    }

    fn is_journal(&self, file: usize) -> bool {
        [Part::JournalA, Part::JournalB].iter().any(|part| self.names.get(part) == Some(&file))
    }

    fn refuses(&mut self, is_read: bool) -> bool {
        if let Some(calls) = &mut self.cut_in
            && !is_read
            && self.left.is_none()
        {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                self.goes_off();
            }
        }
        if self.left.is_some() {
            return true;
        }
        let Some(Fault { at, lasts, reads }) = self.fault else { return false };
        if is_read && !reads {
            return false;
        }
        self.calls += 1;
        let refuses = self.calls == at || (lasts && self.calls > at);
        self.refused += u64::from(refuses);
        refuses
    }
}

fn refusal() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the disk of the story refuses")
}

impl Disk {
    /// An empty one.
    pub(crate) fn new(chance: Chance) -> Disk {
        Disk::of(Machine::new(Vec::new(), BTreeMap::new(), chance))
    }

    fn of(machine: Machine) -> Disk {
        Disk(Arc::new(Mutex::new(machine)))
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap()
    }

    // === What happens to it ===

    /// The disk as it is found after the power was cut at this moment.
    pub(crate) fn power_cut(&self) -> Disk {
        Disk::of(self.machine().after_power_cut())
    }

    /// The disk as it is found after its process was killed: nothing is lost, but nothing is flushed.
    pub(crate) fn kill(&self) -> Disk {
        let mut machine = self.machine();
        let files = machine.files.iter().map(|file| File { is_open: false, ..file.clone() }).collect();
        let (names, chance) = (machine.names.clone(), machine.chance.split());
        let Machine { lies, is_torn, mark, flushed, .. } = *machine;
        Disk::of(Machine { lies, is_torn, mark, flushed, ..Machine::new(files, names, chance) })
    }

    /// Cuts the power at this moment: from now on every call fails. [`Disk::left`] is what is found later.
    pub(crate) fn cut(&self) {
        let mut machine = self.machine();
        if machine.left.is_none() {
            machine.goes_off();
        }
    }

    /// Cuts the power so many writes and flushes from now, or not at all.
    pub(crate) fn cut_in(&self, calls: Option<u64>) {
        self.machine().cut_in = calls;
    }

    /// What the power cut has left, if there was one.
    pub(crate) fn left(&self) -> Option<Disk> {
        self.machine().left.clone()
    }

    /// Rings when the power goes.
    pub(crate) fn bell(&self) -> Arc<Notify> {
        self.machine().bell.clone()
    }

    /// From now on, so much is free.
    pub(crate) fn leave(&self, free: u64) {
        self.machine().free = Some(free);
    }

    /// From now on an image is taken of one in so many writes and flushes.
    pub(crate) fn take_images(&self, of_one_in: Option<usize>) {
        self.machine().image_of_one_in = of_one_in;
    }

    /// The images that were taken since this was last asked.
    pub(crate) fn images(&self) -> Vec<Disk> {
        std::mem::take(&mut self.machine().images)
    }

    /// From now on so many flushes of a hundred do nothing: what they should have flushed waits for the next.
    pub(crate) fn lie(&self, percent: usize) {
        self.machine().lies = percent;
    }

    /// From now on, this goes wrong.
    pub(crate) fn break_at(&self, fault: Fault) {
        let mut machine = self.machine();
        (machine.fault, machine.calls, machine.refused) = (Some(fault), 0, 0);
    }

    /// Nothing goes wrong any more; returns how many calls were refused.
    pub(crate) fn mend(&self) -> u64 {
        let mut machine = self.machine();
        machine.fault = None;
        std::mem::take(&mut machine.refused)
    }

    /// Whether it refuses all writes by now, or has hardly any room.
    pub(crate) fn is_refusing(&self) -> bool {
        let machine = self.machine();
        let refuses = machine.fault.is_some_and(|fault| fault.lasts && machine.calls >= fault.at);
        refuses || machine.free.is_some_and(|free| free < 1 << 21)
    }

    /// Turns one bit over.
    pub(crate) fn flip(&self, part: Part, bit: usize) {
        let mut machine = self.machine();
        let file = machine.names[&part];
        let file = &mut machine.files[file];
        Arc::make_mut(&mut file.seen)[bit / 8] ^= 1 << (bit % 8);
        file.durable = file.seen.clone();
    }

    /// Replaces a file by that of another disk.
    pub(crate) fn copy(&self, part: Part, from: &Disk) {
        let bytes = {
            let machine = from.machine();
            machine.files[machine.names[&part]].seen.clone()
        };
        let mut machine = self.machine();
        let file = machine.names[&part];
        (machine.files[file].seen, machine.files[file].durable) = (bytes.clone(), bytes);
    }

    /// Writes noise over a stretch.
    pub(crate) fn spoil(&self, part: Part, bytes: Range<usize>, chance: &mut Chance) {
        let mut machine = self.machine();
        let file = machine.names[&part];
        let file = &mut machine.files[file];
        Arc::make_mut(&mut file.seen)[bytes].fill_with(|| chance.next().to_le_bytes()[0]);
        file.durable = file.seen.clone();
    }

    // === What can be said of it ===

    /// The parts that are there, and how many bytes each has.
    pub(crate) fn parts(&self) -> Vec<(Part, usize)> {
        let machine = self.machine();
        machine.names.iter().map(|(part, file)| (*part, machine.files[*file].seen.len())).collect()
    }

    pub(crate) fn byte(&self, part: Part, at: usize) -> u8 {
        let machine = self.machine();
        machine.files[machine.names[&part]].seen[at]
    }

    /// All that is on it, also in files that have no name any more.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.machine().files.iter().flat_map(|file| file.seen.iter().copied()).collect()
    }

    /// Whether a power cut has left some of a write to a journal, or some of several writes.
    pub(crate) fn is_torn(&self) -> bool {
        self.machine().is_torn
    }

    /// What is written to a journal from now on bears this mark.
    pub(crate) fn mark(&self, mark: usize) {
        self.machine().mark = mark;
    }

    /// The highest mark in a journal that was really flushed.
    pub(crate) fn flushed(&self) -> usize {
        self.machine().flushed
    }

    // === Calls ===

    fn call(&self, is_read: bool) -> io::Result<MutexGuard<'_, Machine>> {
        let mut machine = self.machine();
        if !is_read
            && let Some(one_in) = machine.image_of_one_in
            && machine.chance.below(one_in) == 0
        {
            let image = Disk::of(machine.after_power_cut());
            machine.images.push(image);
        }
        if machine.refuses(is_read) { Err(refusal()) } else { Ok(machine) }
    }
}

impl Files for Disk {
    fn is_there(&self, part: Part) -> io::Result<bool> {
        Ok(self.call(true)?.names.contains_key(&part))
    }

    fn open(&self, part: Part) -> io::Result<Box<dyn StorageBackend>> {
        let mut machine = self.call(false)?;
        let next = machine.files.len();
        let file = *machine.names.entry(part).or_insert(next);
        if file == next {
            machine.files.push(File::default());
        }
        let is_open = &mut machine.files[file].is_open;
        if std::mem::replace(is_open, true) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        Ok(Box::new(Handle { disk: self.clone(), file }))
    }

    fn remove_rescue(&self) -> io::Result<()> {
        self.call(false)?.names.remove(&Part::Rescue);
        Ok(())
    }

    fn replace_tables(&self, why: &str) -> io::Result<Option<String>> {
        let mut machine = self.call(false)?;
        let new = machine.names.remove(&Part::Rescue).ok_or(io::ErrorKind::NotFound)?;
        let old = machine.names.insert(Part::Tables, new);
        Ok(old.map(|file| format!("{}.{why}-{file}", Part::Tables.name())))
    }

    fn bytes(&self, part: Part) -> u64 {
        self.parts().into_iter().find(|(other, _)| *other == part).map_or(0, |(_, bytes)| bytes as u64)
    }

    fn free(&self) -> io::Result<Option<u64>> {
        Ok(self.machine().free)
    }
}

/// An open file. It is this process's alone, until it is dropped.
#[derive(Debug)]
struct Handle {
    disk: Disk,
    file: usize,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.disk.machine().files[self.file].is_open = false;
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.call(true)?.files[self.file].seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let machine = self.disk.call(true)?;
        let offset = usize::try_from(offset).unwrap();
        let from = machine.files[self.file].seen.get(offset..offset + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut machine = self.disk.call(false)?;
        let mark = machine.mark;
        machine.files[self.file].do_now(mark, Op::SetLen(usize::try_from(len).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.disk.call(false) {
            Ok(mut machine) => {
                let lies = machine.lies;
                if !machine.chance.percent(lies) {
                    let is_journal = machine.is_journal(self.file);
                    let file = &mut machine.files[self.file];
                    let flushed = std::mem::take(&mut file.pending);
                    for (_, op) in &flushed {
                        op.apply(Arc::make_mut(&mut file.durable));
                    }
                    if let Some((mark, _)) = flushed.last().filter(|_| is_journal) {
                        machine.flushed = machine.flushed.max(*mark);
                    }
                }
                Ok(())
            }
            Err(error) => {
                // After a failed flush the kernel takes what it could not write for written, or tries again. How
                // long a file is belongs to the file system, which forgets nothing.
                let mut machine = self.disk.machine();
                if machine.left.is_none() && machine.chance.percent(50) {
                    machine.files[self.file].pending.retain(|(_, op)| matches!(op, Op::SetLen(_)));
                }
                Err(error)
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let (mut machine, result, written) = match self.disk.call(false) {
            Ok(machine) => (machine, Ok(()), data.len()),
            // A disk that is full takes what fits.
            Err(error) => {
                let mut machine = self.disk.machine();
                let written = machine.chance.below(2) * machine.chance.below(data.len());
                (machine, Err(error), written)
            }
        };
        let mark = machine.mark;
        if written > 0 {
            let is_journal = machine.is_journal(self.file);
            machine.is_torn |= is_journal && written < data.len();
            machine.files[self.file].do_now(mark, Op::Write(offset, data[..written].to_vec()));
        }
        result
    }
}
