//! How the columns of a product's right operand are cut into panels, and where these lie; `product.rs` shows them.

use super::isa::{Isa, Kernel, Lanes};

/// How columns are cut: into panels as wide as a tile, and what is left. Where that would be a single vector, which has too
/// few sums to keep a CPU busy, the last four vectors are shared by two panels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// All columns.
    n: usize,
    /// Columns of a vector.
    lanes: usize,
    /// Columns of a tile.
    tile: usize,
    /// Where the two panels of two vectors begin; behind the last column where there are none.
    narrow: usize,
}

impl Cut {
    /// The way in which `n` columns are cut for this instruction set.
    pub(super) fn new(isa: Isa, n: usize) -> Self {
        isa.run(CutColumns { n })
    }

    /// The same within a kernel.
    #[inline(always)]
    pub(super) fn of<L: Lanes>(n: usize) -> Self {
        let (vectors, [_, at_a_time]) = (n.div_ceil(L::LANES), L::TILE);
        let one_left = at_a_time == 3 && vectors > 3 && vectors % 3 == 1;
        let narrow = if one_left { vectors - 4 } else { vectors } * L::LANES;
        Self { n, lanes: L::LANES, tile: at_a_time * L::LANES, narrow }
    }

    /// All columns, and those that fill the last vector.
    pub(super) fn stored(self) -> usize {
        self.n.next_multiple_of(self.lanes)
    }

    /// All columns.
    #[inline(always)]
    pub(super) fn n(self) -> usize {
        self.n
    }

    /// The first column of each panel.
    #[inline(always)]
    pub(super) fn firsts(self) -> impl Iterator<Item = usize> {
        (0..self.n.min(self.narrow)).step_by(self.tile).chain((self.narrow..self.n).step_by(2 * self.lanes))
    }

    /// The columns of the panel that begins with column `first`, those included that fill its last vector.
    #[inline(always)]
    pub(super) fn width(self, first: usize) -> usize {
        let most = if first < self.narrow { self.tile } else { 2 * self.lanes };
        most.min(self.stored() - first)
    }

    /// The columns of the panel that begins with column `first`.
    #[inline(always)]
    pub(super) fn cols(self, first: usize) -> usize {
        self.width(first).min(self.n - first)
    }

    /// The first column of the last panel, if that does not fill its vectors.
    pub(super) fn partial(self) -> Option<usize> {
        if self.n == self.stored() { None } else { self.firsts().last() }
    }

    /// Memory with so many values for each column, in two parts whose panels are of one width: the first column, the width,
    /// the values.
    pub(super) fn parts_mut(self, values: &mut [f32], for_each: usize) -> [(usize, usize, &mut [f32]); 2] {
        let (wide, narrow) = values[..for_each * self.stored()].split_at_mut(for_each * self.narrow);
        [(0, self.tile, wide), (self.narrow, 2 * self.lanes, narrow)]
    }

    /// Columns of each of about so many parts that are cut like the whole.
    pub(super) fn part(self, parts: usize) -> usize {
        let mut columns = self.n.div_ceil(self.tile).div_ceil(parts) * self.tile;
        // a last part of one vector would end in the middle of the narrow panels
        while columns < self.n && (self.n % columns).div_ceil(self.lanes) == 1 {
            columns += self.tile;
        }
        columns
    }
}

/// [`Cut::of`] as a kernel.
struct CutColumns {
    n: usize,
}

impl Kernel for CutColumns {
    type Output = Cut;
    #[inline(always)]
    fn run<L: Lanes>(self) -> Cut {
        Cut::of::<L>(self.n)
    }
}

/// The right operand, cut into panels: laid out one behind the other, or as it stands.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub(super) values: &'a [f32],
    pub(super) cut: Cut,
    /// How much further on a panel lies than one that begins a column before it.
    pub(super) column: usize,
    /// Distance between a panel's rows where it stands; else they have no gaps.
    pub(super) row: Option<usize>,
    /// The last panel, laid out elsewhere, where the others stand and it does not fill its vectors.
    pub(super) rest: Option<&'a [f32]>,
    /// The first of the rows that are worked through.
    pub(super) start: usize,
    /// How many these are.
    pub(super) depth: usize,
}

impl<'a> Panels<'a> {
    /// Those rows of the panel that begins with column `first`.
    #[inline(always)]
    pub(super) fn get(&self, first: usize) -> Panel<'a> {
        let width = self.cut.width(first);
        let (values, stride) = match self.rest {
            Some(rest) if first + width > self.cut.n => (rest, width),
            _ => (self.values.get(first * self.column..).unwrap_or_default(), self.row.unwrap_or(width)),
        };
        Panel { values: values.get(self.start * stride..).unwrap_or_default(), stride, depth: self.depth }
    }
}

/// A block of a panel.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) values: &'a [f32],
    /// Distance between its rows.
    pub(super) stride: usize,
    pub(super) depth: usize,
}

impl Panel<'_> {
    /// The first vectors of one of its rows.
    #[inline(always)]
    pub(super) fn row<L: Lanes, const NV: usize>(&self, p: usize) -> [L::Vector; NV] {
        let row = &self.values[p * self.stride..][..NV * L::LANES];
        std::array::from_fn(|v| L::load(&row[v * L::LANES..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_follow_each_other_and_none_of_several_has_a_single_vector() {
        for isa in Isa::available() {
            for n in 1..400 {
                let cut = Cut::new(isa, n);
                let mut next = 0;
                for first in cut.firsts() {
                    assert_eq!(first, next);
                    next = first + cut.width(first);
                    let alone = cut.tile > 2 * cut.lanes && n > cut.tile;
                    assert!(!alone || cut.width(first) > cut.lanes, "{} {n} {first}", isa.name());
                }
                assert_eq!(next, cut.stored());
                for parts in 1..20 {
                    let part = cut.part(parts);
                    let firsts = (0..n)
                        .step_by(part)
                        .flat_map(|start| Cut::new(isa, part.min(n - start)).firsts().map(move |first| start + first));
                    assert!(firsts.eq(cut.firsts()), "{} {n} in {parts} parts of {part}", isa.name());
                }
            }
        }
    }
}
