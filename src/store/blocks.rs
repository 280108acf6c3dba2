//! A journal file: blocks of 4,096 bytes, each sealed for its place and its generation.
//!
//! A block opens only at its own number and says of which generation it is, so that what a torn write, an
//! older generation or a lying disk left behind is told apart from what belongs here. A frame is cut into
//! as many blocks as it needs; the last one says so, and a frame without its last block never was.
//!
//! ```text
//! "CPJ" format | key id: 8 | generation: 8 | nonce, then sealed: flags: 1, length: 2, piece, zeros | tag
//! ```

use std::io;

use redb::StorageBackend;

use super::StoreError;
use super::database::disk;
use crate::vault::{KeyId, Row, Vault};

/// What is written at once. One page of a flash card or less costs the card as much.
pub(super) const BLOCK: usize = 4096;

/// Files grow by this, so that most frames overwrite bytes that the file system has allocated.
const GROWTH: u64 = 64 * 1024;

/// The format of a journal. A Carport reads its own and older ones.
pub(super) const FORMAT: u8 = 1;

const MAGIC: &[u8] = b"CPJ";
const HEADER: usize = 20;
const PLAIN: usize = BLOCK - HEADER - Vault::OVERHEAD;
const PIECE: usize = PLAIN - 3;
const FIRST: u8 = 1;
const LAST: u8 = 2;

/// What stands in clear at the head of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: u8,
    pub(super) key: KeyId,
    pub(super) generation: u64,
}

impl Header {
    fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..3].copy_from_slice(MAGIC);
        bytes[3] = self.format;
        bytes[4..12].copy_from_slice(self.key.as_bytes());
        bytes[12..].copy_from_slice(&self.generation.to_be_bytes());
        bytes
    }

    fn read(block: &[u8]) -> Option<Header> {
        let (header, _) = block.split_first_chunk::<HEADER>()?;
        let (&[m0, m1, m2, format], rest) = header.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_first_chunk::<8>()?;
        let (generation, _) = rest.split_first_chunk::<8>()?;
        let is_ours = [m0, m1, m2] == MAGIC;
        is_ours.then(|| Header { format, key: KeyId::from_bytes(*key), generation: u64::from_be_bytes(*generation) })
    }
}

/// What lies at a place.
enum Block {
    /// A piece of a frame of the generation that was asked for.
    Piece { first: bool, last: bool, piece: Vec<u8> },
    /// Nothing, or what an older generation left.
    Free,
    /// Something that does not open.
    Unreadable,
}

/// What comes next in a generation.
pub(super) enum Found {
    /// A whole frame.
    Frame(Vec<u8>),
    /// Blocks of the generation that cannot be read; there are others after them.
    Gap,
}

/// How a generation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// How many blocks it has.
    pub(super) blocks: u64,
    /// Whether something that was never finished, or is damaged, follows.
    pub(super) unfinished: bool,
}

#[derive(Debug)]
pub(super) struct BlockFile {
    file: Box<dyn StorageBackend>,
    vault: Vault,
    length: u64,
}

impl BlockFile {
    pub(super) fn new(file: Box<dyn StorageBackend>, vault: Vault) -> io::Result<BlockFile> {
        let length = file.len()?;
        Ok(BlockFile { file, vault, length })
    }

    /// Headers in the file, without regard to whether their blocks open.
    pub(super) fn headers(&self) -> io::Result<Vec<Header>> {
        let mut headers = Vec::new();
        let mut block = vec![0; BLOCK];
        for number in 0..self.blocks() {
            self.file.read(number * BLOCK as u64, &mut block)?;
            headers.extend(Header::read(&block));
        }
        Ok(headers)
    }

    /// Whether nothing was ever written to it.
    pub(super) fn is_blank(&self) -> io::Result<bool> {
        let mut block = vec![0; BLOCK];
        for number in 0..self.blocks() {
            self.file.read(number * BLOCK as u64, &mut block)?;
            if block.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The newest generation of which the file holds anything.
    pub(super) fn newest_generation(&self) -> io::Result<Option<u64>> {
        let mut generations: Vec<u64> = self.headers()?.iter().map(|header| header.generation).collect();
        generations.sort_unstable();
        generations.dedup();
        for generation in generations.into_iter().rev() {
            for number in 0..self.blocks() {
                if let Block::Piece { .. } = self.block(number, generation)? {
                    return Ok(Some(generation));
                }
            }
        }
        Ok(None)
    }

    /// Writes a frame at the block `from` and returns the next free block. Not yet durable.
    pub(super) fn write(&mut self, generation: u64, from: u64, frame: &[u8]) -> io::Result<u64> {
        let pieces: Vec<&[u8]> = frame.chunks(PIECE).collect();
        let mut bytes = Vec::with_capacity(pieces.len() * BLOCK);
        let header = Header { format: FORMAT, key: self.vault.key_id(), generation }.bytes();
        let mut plain = [0; PLAIN];
        let mut number = from;
        for (place, piece) in pieces.iter().enumerate() {
            plain[0] = if place == 0 { FIRST } else { 0 } | if place + 1 == pieces.len() { LAST } else { 0 };
            plain[1..3].copy_from_slice(&u16::try_from(piece.len()).unwrap_or(u16::MAX).to_be_bytes());
            plain[3..3 + piece.len()].copy_from_slice(piece);
            plain[3 + piece.len()..].fill(0);
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(&self.vault.seal(row(&number.to_be_bytes(), &header), &plain));
            number += 1;
        }
        let end = number * BLOCK as u64;
        if end > self.length {
            let length = end.next_multiple_of(GROWTH);
            self.file.set_len(length)?;
            // Zeros, not a hole: a hole would be allocated, with a commit of the file system, at every frame.
            bytes.resize(bytes.len() + usize::try_from(length - end).unwrap_or(0), 0);
            self.length = length;
        }
        self.file.write(from * BLOCK as u64, &bytes)?;
        Ok(number)
    }

    /// Takes everything out.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.length = 0;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Visits the frames of a generation in order.
    pub(super) fn read(
        &self,
        generation: u64,
        mut visit: impl FnMut(Found) -> Result<(), StoreError>,
    ) -> Result<End, StoreError> {
        let mut frame: Option<Vec<u8>> = None;
        let (mut number, mut whole) = (0, 0);
        loop {
            match self.block(number, generation).map_err(|error| disk(&error))? {
                Block::Piece { first, last, piece } if first || frame.is_some() => {
                    let mut so_far = if first { Vec::new() } else { frame.take().unwrap_or_default() };
                    so_far.extend_from_slice(&piece);
                    number += 1;
                    if last {
                        whole = number;
                        visit(Found::Frame(so_far))?;
                    } else {
                        frame = Some(so_far);
                    }
                }
                // The rest of a frame whose beginning was lost.
                Block::Piece { last, .. } => {
                    number += 1;
                    whole = if last { number } else { whole };
                }
                end @ (Block::Free | Block::Unreadable) => {
                    let Some(next) = self.next_of(generation, number + 1).map_err(|error| disk(&error))? else {
                        let unfinished = whole != number || matches!(end, Block::Unreadable);
                        return Ok(End { blocks: whole, unfinished });
                    };
                    visit(Found::Gap)?;
                    frame = None;
                    number = next;
                }
            }
        }
    }

    fn next_of(&self, generation: u64, from: u64) -> io::Result<Option<u64>> {
        for number in from..self.blocks() {
            if let Block::Piece { .. } = self.block(number, generation)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn block(&self, number: u64, generation: u64) -> io::Result<Block> {
        if number >= self.blocks() {
            return Ok(Block::Free);
        }
        let mut block = vec![0; BLOCK];
        self.file.read(number * BLOCK as u64, &mut block)?;
        let Some(header) = Header::read(&block) else {
            return Ok(if block.iter().all(|byte| *byte == 0) { Block::Free } else { Block::Unreadable });
        };
        let (head, sealed) = block.split_at(HEADER);
        let Ok(plain) = self.vault.open(row(&number.to_be_bytes(), head), sealed) else { return Ok(Block::Unreadable) };
        if header.generation != generation {
            return Ok(Block::Free);
        }
        let length = usize::from(u16::from_be_bytes([plain[1], plain[2]])).min(PIECE);
        Ok(Block::Piece { first: plain[0] & FIRST != 0, last: plain[0] & LAST != 0, piece: plain[3..3 + length].to_vec() })
    }

    fn blocks(&self) -> u64 {
        self.length / BLOCK as u64
    }
}

fn row<'a>(number: &'a [u8], header: &'a [u8]) -> Row<'a> {
    Row { table: "journal", key: number, context: header }
}
