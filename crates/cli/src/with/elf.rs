//! What the head of an ELF file says about who loads it and with what: elf(5). Only what decides whether a library path
//! reaches a program; what it gets in the end is asked of the loader itself ([`super::loader`]).

/// What a program's file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Elf {
    /// 32 or 64.
    pub bits: u8,
    /// `e_machine`: 62 is x86-64, 183 AArch64.
    pub machine: u16,
    /// The dynamic loader it asks for (PT_INTERP); none where it is statically linked.
    pub interpreter: Option<String>,
    /// The libraries it names (DT_NEEDED), not those that these name.
    pub needed: Vec<String>,
    /// Where it has its libraries looked for before LD_LIBRARY_PATH (DT_RPATH). With DT_RUNPATH beside it this is ignored.
    pub rpath: Option<String>,
    /// Where it has its libraries looked for after LD_LIBRARY_PATH (DT_RUNPATH).
    pub runpath: Option<String>,
}

/// What this command is itself: the library beside it is of the same kind.
pub const OWN_BITS: u8 = usize::BITS as u8;
/// `e_machine` of this machine, as far as it is known here.
pub const OWN_MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(target_arch = "aarch64") {
    183
} else {
    0
};

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// A part of the file that is told of by its program header.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

impl Elf {
    /// Reads it. `None`: no ELF file, one for a machine with the other byte order, or one that is cut off.
    pub fn read(bytes: &[u8]) -> Option<Elf> {
        if bytes.get(..4)? != b"\x7fELF"
            || *bytes.get(5)? != if cfg!(target_endian = "little") { 1 } else { 2 }
        {
            return None;
        }
        let wide = *bytes.get(4)? == 2;
        let mut elf = Elf { bits: if wide { 64 } else { 32 }, machine: half(bytes, 18)?, ..Elf::default() };
        let segments = segments(bytes, wide)?;
        let of = |kind| segments.iter().find(move |segment: &&Segment| segment.kind == kind);
        elf.interpreter = of(PT_INTERP).and_then(|segment| text(bytes, segment.offset));
        let Some(dynamic) = of(PT_DYNAMIC) else { return Some(elf) };
        let entries = entries(bytes, dynamic, wide);
        let strings = entries.iter().find(|(tag, _)| *tag == DT_STRTAB).map(|(_, address)| *address)?;
        let home = segments.iter().find(|segment| {
            segment.kind == PT_LOAD && strings >= segment.address && strings - segment.address < segment.size
        })?;
        let strings = home.offset.checked_add(strings - home.address)?;
        for (tag, value) in entries {
            let named = || text(bytes, strings.checked_add(value)?);
            match tag {
                DT_NEEDED => elf.needed.extend(named()),
                DT_RPATH => elf.rpath = named(),
                DT_RUNPATH => elf.runpath = named(),
                _ => {}
            }
        }
        Some(elf)
    }
}

/// The program headers.
fn segments(bytes: &[u8], wide: bool) -> Option<Vec<Segment>> {
    let (table, size, count) =
        if wide { (word(bytes, 32)?, 54, 56) } else { (long(bytes, 28)?.into(), 42, 44) };
    let (size, count) = (half(bytes, size)?, half(bytes, count)?);
    let one = |number: u16| {
        let at = table.checked_add(u64::from(number) * u64::from(size))?;
        let kind = long(bytes, at)?;
        Some(if wide {
            Segment {
                kind,
                offset: word(bytes, at + 8)?,
                address: word(bytes, at + 16)?,
                size: word(bytes, at + 32)?,
            }
        } else {
            let field = |offset| long(bytes, at + offset).map(u64::from);
            Segment { kind, offset: field(4)?, address: field(8)?, size: field(16)? }
        })
    };
    (0..count).map(one).collect()
}

/// The dynamic section: tags and values, up to its end (DT_NULL).
fn entries(bytes: &[u8], dynamic: &Segment, wide: bool) -> Vec<(u64, u64)> {
    let size = if wide { 16 } else { 8 };
    let one = |number: u64| {
        let at = dynamic.offset.checked_add(number * size)?;
        let field = |at| if wide { word(bytes, at) } else { long(bytes, at).map(u64::from) };
        Some((field(at)?, field(at + size / 2)?)).filter(|(tag, _)| *tag != 0)
    };
    (0..dynamic.size / size).map_while(one).collect()
}

/// Bytes at a place that the file itself names.
fn at<const N: usize>(bytes: &[u8], offset: u64) -> Option<[u8; N]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(N)?)?.try_into().ok()
}

fn half(bytes: &[u8], offset: u64) -> Option<u16> {
    at(bytes, offset).map(u16::from_ne_bytes)
}

fn long(bytes: &[u8], offset: u64) -> Option<u32> {
    at(bytes, offset).map(u32::from_ne_bytes)
}

fn word(bytes: &[u8], offset: u64) -> Option<u64> {
    at(bytes, offset).map(u64::from_ne_bytes)
}

/// A string that ends with a null byte.
fn text(bytes: &[u8], offset: u64) -> Option<String> {
    let rest = bytes.get(usize::try_from(offset).ok()?..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().expect("a path")).expect("readable")
    }

    #[test]
    fn this_program_is_of_this_machine_and_names_libc() {
        let elf = Elf::read(&own()).expect("an ELF file");
        assert_eq!((elf.bits, elf.machine), (OWN_BITS, OWN_MACHINE));
        assert!(elf.interpreter.expect("dynamically linked").contains("ld-linux"));
        assert!(elf.needed.iter().any(|name| name == "libc.so.6"), "{:?}", elf.needed);
    }

    #[test]
    fn what_is_cut_off_or_garbled_is_refused_without_a_panic() {
        let whole = own();
        assert_eq!(Elf::read(b"#!/bin/sh\n"), None);
        assert_eq!(Elf::read(&whole[..40]), None);
        // Every byte of the head in turn is wrong; and the tables lie at the end of the numbers there are.
        for place in 4..64 {
            for wrong in [0, 1, 2, 127, 255] {
                let mut bytes = whole[..whole.len().min(1 << 16)].to_vec();
                bytes[place] = wrong;
                let _ = Elf::read(&bytes);
            }
        }
        let mut far = whole[..4096].to_vec();
        far[32..40].fill(0xff);
        assert_eq!(Elf::read(&far), None);
    }
}
