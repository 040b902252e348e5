//! The division of a matrix multiplication into the tiles of `gemm.cu`, and of its inner dimension into splits.

/// A block's tile of `gemm.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows and columns of the output.
    pub(super) side: usize,
    /// How much of k is in shared memory at a time.
    pub(super) k: usize,
}

impl Tile {
    /// How many tiles an output has.
    pub(super) fn count(self, rows: usize, cols: usize) -> usize {
        rows.div_ceil(self.side) * cols.div_ceil(self.side)
    }

    /// Shared memory for both operands, double-buffered, with four elements of padding per row.
    pub(super) fn shared_bytes(self) -> usize {
        4 * self.k * (self.side + 4) * size_of::<f32>()
    }
}

/// The tiles that `gemm.cu` is compiled for.
pub(super) const TILES: [Tile; 3] = [Tile { side: 32, k: 32 }, Tile { side: 64, k: 16 }, Tile { side: 128, k: 16 }];
/// The largest tile is used only for outputs with at least this many of them; fewer leave most of a GPU idle.
const LARGE_TILE_MIN_COUNT: usize = 64;
/// Split-K is used up to this many blocks. A constant, so that no result depends on the number of multiprocessors.
const SPLIT_K_MAX_BLOCKS: usize = 256;
/// The least length of a split, in multiples of [`Tile::k`]; the reduction of shorter splits costs more than it saves.
const SPLIT_K_MIN_TILES: usize = 4;
/// Elements of the partial sums of a split-K multiplication; no tile is larger than the last one.
pub(super) const SPLIT_K_WORKSPACE: usize = SPLIT_K_MAX_BLOCKS * TILES[2].side * TILES[2].side;

/// The index in [`TILES`] of an output's tile.
pub(super) fn tile_size(rows: usize, cols: usize) -> usize {
    let [small, medium, large] = TILES;
    if rows.min(cols) > medium.side && large.count(rows, cols) >= LARGE_TILE_MIN_COUNT {
        2
    } else {
        usize::from(rows.min(cols) > small.side)
    }
}

/// Split-K: the length of a split, a multiple of `tile_k`, and the number of splits, for an output with so many tiles.
pub(super) fn split_k(k: usize, tiles: usize, tile_k: usize) -> (usize, usize) {
    let wanted = (SPLIT_K_MAX_BLOCKS / tiles.max(1)).min(k / (SPLIT_K_MIN_TILES * tile_k)).max(1);
    let split_len = k.div_ceil(wanted).next_multiple_of(tile_k).max(tile_k);
    (split_len, k.div_ceil(split_len).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_tile_is_for_outputs_with_many_of_them() {
        // a bias, the book's logits, the gradient of 1024 × 256 weights, of 2048 × 512; then tall and narrow outputs
        assert_eq!(
            [(1, 512), (1120, 28), (1024, 256), (2048, 512)].map(|(rows, cols)| tile_size(rows, cols)),
            [0, 0, 1, 2]
        );
        assert_eq!([(100_000, 32), (100_000, 64), (100_000, 65)].map(|(rows, cols)| tile_size(rows, cols)), [0, 1, 2]);
    }

    #[test]
    fn splits_cover_k_and_fit_in_the_workspace() {
        // k = 1120 with 64 tiles: four splits of 280, rounded up to a multiple of 32
        assert_eq!(split_k(1120, 64, 32), (288, 4));
        // just long enough for two splits, and one too short
        assert_eq!([split_k(257, 9, 32), split_k(255, 9, 32), split_k(257, 9, 16)], [(160, 2), (256, 1), (80, 4)]);
        assert_eq!([split_k(4096, 256, 16), split_k(0, 1, 32), split_k(1, 1, 16)], [(4096, 1), (32, 1), (16, 1)]);
        for (k, tiles) in (0..600).flat_map(|k| (1..300).map(move |tiles| (k * 7, tiles))) {
            let (split_len, splits) = split_k(k, tiles, 32);
            assert!(split_len % 32 == 0 && split_len * splits >= k, "{k} {tiles}");
            assert!(splits == 1 || split_len * (splits - 1) < k && tiles * splits <= SPLIT_K_MAX_BLOCKS, "{k} {tiles}");
        }
    }
}
