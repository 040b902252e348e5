//! Stage 3, ids: ids in memory, in the smallest type.

use crate::error::Result;
use crate::ids::{IdSource, Ids};

/// Ids in memory, in 1, 2 or 4 bytes each, whichever suffices for the largest one.
///
/// ```
/// use rnnlm_vocab::{Batches, Ids, PackedIds};
///
/// let ids = PackedIds::new((0..100).collect());
/// for minibatch in Batches::sequential(Ids::stored(&ids), 2, 5, 0, 0)? {
///     assert_eq!(minibatch.targets[0], minibatch.inputs[0] + 1);
/// }
/// # Ok::<(), rnnlm_vocab::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedIds(Values);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
}

impl PackedIds {
    /// Packs ids.
    pub fn new(ids: Vec<u32>) -> Self {
        Self(match ids.iter().copied().max().unwrap_or(0) {
            ..=0xFF => Values::U8(ids.iter().map(|&id| id as u8).collect()),
            0x100..=0xFFFF => Values::U16(ids.iter().map(|&id| id as u16).collect()),
            _ => Values::U32(ids),
        })
    }

    /// Reads the ids of a store, which are below `vocab_size`.
    ///
    /// # Errors
    ///
    /// Those of [`IdSource::read`].
    pub fn read(ids: Ids<'_>, vocab_size: usize) -> Result<Self> {
        let len = ids.len();
        Ok(Self(match vocab_size {
            ..=0x100 => Values::U8(collect(ids, len, |id| id as u8)?),
            0x101..=0x1_0000 => Values::U16(collect(ids, len, |id| id as u16)?),
            _ => Values::U32(collect(ids, len, |id| id)?),
        }))
    }
}

fn collect<T>(ids: Ids<'_>, len: usize, convert: impl Fn(u32) -> T) -> Result<Vec<T>> {
    let mut values = Vec::with_capacity(len);
    ids.for_each_part(|part| values.extend(part.iter().map(|&id| convert(id))))?;
    Ok(values)
}

impl IdSource for PackedIds {
    fn len(&self) -> usize {
        match &self.0 {
            Values::U8(ids) => ids.len(),
            Values::U16(ids) => ids.len(),
            Values::U32(ids) => ids.len(),
        }
    }

    fn read(&self, start: usize, out: &mut [u32]) -> Result<()> {
        let range = start..start + out.len();
        match &self.0 {
            Values::U8(ids) => out.iter_mut().zip(&ids[range]).for_each(|(out, &id)| *out = id.into()),
            Values::U16(ids) => out.iter_mut().zip(&ids[range]).for_each(|(out, &id)| *out = id.into()),
            Values::U32(ids) => out.copy_from_slice(&ids[range]),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_the_smallest_type_and_are_the_same() {
        for (max, width) in [(0, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4), (u32::MAX, 4)] {
            let ids = [max, 0, 7.min(max), max];
            let packed = PackedIds::new(ids.to_vec());
            let found = match &packed.0 {
                Values::U8(_) => 1,
                Values::U16(_) => 2,
                Values::U32(_) => 4,
            };
            assert_eq!((found, packed.len()), (width, 4), "{max}");
            assert_eq!(*Ids::stored(&packed).load().unwrap(), ids);
            assert_eq!(*Ids::stored(&packed).slice(1..3).load().unwrap(), ids[1..3]);
            assert_eq!(PackedIds::read(Ids::Memory(&ids), max as usize + 1).unwrap(), packed);
        }
    }
}
