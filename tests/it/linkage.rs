//! The program is one file that asks the system for no library.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]

use std::fs::File;
use std::io::Read;

/// The program header that names a dynamic loader.
const PT_INTERP: u32 = 3;

#[test]
fn the_binary_is_static() {
    let mut elf = Vec::new();
    File::open(env!("CARGO_BIN_EXE_carport")).unwrap().take(4096).read_to_end(&mut elf).unwrap();
    assert_eq!(&elf[..5], b"\x7fELF\x02", "a 64-bit ELF file");

    let half = |at: usize| usize::from(u16::from_ne_bytes(elf[at..at + 2].try_into().unwrap()));
    let word = |at: usize| u32::from_ne_bytes(elf[at..at + 4].try_into().unwrap());
    let long = |at: usize| usize::try_from(u64::from_ne_bytes(elf[at..at + 8].try_into().unwrap())).unwrap();
    let (start, size, count) = (long(0x20), half(0x36), half(0x38));
    let kinds: Vec<u32> = (0..count).map(|nth| word(start + nth * size)).collect();
    assert!(!kinds.is_empty());
    assert!(!kinds.contains(&PT_INTERP), "dynamic: did RUSTFLAGS replace the flags of .cargo/config.toml?");
}
