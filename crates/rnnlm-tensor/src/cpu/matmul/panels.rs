//! How the columns of `B` are divided into panels, and where the panels are in memory.

use crate::cpu::isa::{Isa, Kernel, Lanes};

/// The division of `n` columns into panels as wide as a tile. Where the last panel would be a single vector, which has too
/// few independent sums to keep a core busy, the last four vectors form two panels of two.
#[derive(Clone, Copy, Debug)]
pub(super) struct PanelLayout {
    n: usize,
    lanes: usize,
    /// Columns of a tile.
    nr: usize,
    /// The column at which the panels of two vectors start; past the last column if there are none.
    narrow_start: usize,
}

impl PanelLayout {
    /// The division of `n` columns for an instruction set.
    pub(super) fn new(isa: Isa, n: usize) -> Self {
        isa.run(DivideColumns { n })
    }

    /// [`PanelLayout::new`] within a kernel.
    #[inline(always)]
    pub(super) fn of<L: Lanes>(n: usize) -> Self {
        let [_, tile_vectors] = L::TILE;
        let vectors = n.div_ceil(L::LANES);
        let leaves_one_vector = tile_vectors == 3 && vectors > 3 && vectors % 3 == 1;
        let narrow_vector = if leaves_one_vector { vectors - 4 } else { vectors };
        Self { n, lanes: L::LANES, nr: tile_vectors * L::LANES, narrow_start: narrow_vector * L::LANES }
    }

    /// The number of columns rounded up to whole vectors.
    pub(super) fn padded_cols(self) -> usize {
        self.n.next_multiple_of(self.lanes)
    }

    /// The number of columns.
    #[inline(always)]
    pub(super) fn n(self) -> usize {
        self.n
    }

    /// The first column of each panel.
    #[inline(always)]
    pub(super) fn starts(self) -> impl Iterator<Item = usize> {
        let wide = (0..self.n.min(self.narrow_start)).step_by(self.nr);
        let narrow = (self.narrow_start..self.n).step_by(2 * self.lanes);
        wide.chain(narrow)
    }

    /// The width of the panel that starts at column `start`, with the padding of its last vector.
    #[inline(always)]
    pub(super) fn width(self, start: usize) -> usize {
        let widest = if start < self.narrow_start { self.nr } else { 2 * self.lanes };
        widest.min(self.padded_cols() - start)
    }

    /// The columns of the panel that starts at column `start`, without padding.
    #[inline(always)]
    pub(super) fn cols(self, start: usize) -> usize {
        self.width(start).min(self.n - start)
    }

    /// The first column of the last panel, if its last vector is padded.
    pub(super) fn padded_panel(self) -> Option<usize> {
        if self.n == self.padded_cols() { None } else { self.starts().last() }
    }

    /// Divides memory of `rows` values a column into the wide panels and the narrow ones: for each part its first column, the
    /// width of its panels and its values.
    pub(super) fn split_mut(self, values: &mut [f32], rows: usize) -> [(usize, usize, &mut [f32]); 2] {
        let (wide, narrow) = values[..rows * self.padded_cols()].split_at_mut(rows * self.narrow_start);
        [(0, self.nr, wide), (self.narrow_start, 2 * self.lanes, narrow)]
    }

    /// Columns of each of about `parts` parts, such that each part is divided into the same panels as the whole.
    pub(super) fn cols_per_part(self, parts: usize) -> usize {
        let mut columns = self.n.div_ceil(self.nr).div_ceil(parts) * self.nr;
        // a last part of one vector would start within the narrow panels
        while columns < self.n && (self.n % columns).div_ceil(self.lanes) == 1 {
            columns += self.nr;
        }
        columns
    }
}

/// [`PanelLayout::of`] as a kernel.
struct DivideColumns {
    n: usize,
}

impl Kernel for DivideColumns {
    type Output = PanelLayout;
    #[inline(always)]
    fn run<L: Lanes>(self) -> PanelLayout {
        PanelLayout::of::<L>(self.n)
    }
}

/// `B` as panels, packed or in place.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub(super) values: &'a [f32],
    pub(super) layout: PanelLayout,
    /// Distance in memory between the panels of two neighbouring columns: `k` where packed, 1 in place.
    pub(super) col_stride: usize,
    /// Leading dimension of a `B` in place; `None` where packed, since the rows of a panel are then consecutive.
    pub(super) row_stride: Option<usize>,
    /// The last panel of a `B` in place, packed because its last vector would end past the last row.
    pub(super) packed_last: Option<&'a [f32]>,
    /// The first row of the block.
    pub(super) first_row: usize,
    /// Rows of the block.
    pub(super) depth: usize,
}

impl<'a> Panels<'a> {
    /// The block's rows of the panel that starts at column `start`.
    #[inline(always)]
    pub(super) fn get(&self, start: usize) -> Panel<'a> {
        let width = self.layout.width(start);
        let (values, stride) = match self.packed_last {
            Some(packed) if start + width > self.layout.n => (packed, width),
            _ => (self.values.get(start * self.col_stride..).unwrap_or_default(), self.row_stride.unwrap_or(width)),
        };
        Panel { values: values.get(self.first_row * stride..).unwrap_or_default(), stride, depth: self.depth }
    }
}

/// Some rows of a panel.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) values: &'a [f32],
    /// Distance between rows.
    pub(super) stride: usize,
    /// Number of rows.
    pub(super) depth: usize,
}

impl Panel<'_> {
    /// The first `NV` vectors of row `p`.
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
    fn panels_cover_all_columns_and_none_of_several_is_a_single_vector() {
        for isa in Isa::available() {
            for n in 1..400 {
                let layout = PanelLayout::new(isa, n);
                let mut next = 0;
                for start in layout.starts() {
                    assert_eq!(start, next);
                    next = start + layout.width(start);
                    let has_siblings = layout.nr > 2 * layout.lanes && n > layout.nr;
                    assert!(!has_siblings || layout.width(start) > layout.lanes, "{} {n} {start}", isa.name());
                }
                assert_eq!(next, layout.padded_cols());
                for parts in 1..20 {
                    let part = layout.cols_per_part(parts);
                    let starts = (0..n).step_by(part).flat_map(|first| {
                        PanelLayout::new(isa, part.min(n - first)).starts().map(move |start| first + start)
                    });
                    assert!(starts.eq(layout.starts()), "{} {n} in {parts} parts of {part}", isa.name());
                }
            }
        }
    }
}
