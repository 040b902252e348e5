//! A canvas of Braille characters, each of which has two columns and four rows of dots.

/// The Braille pattern without dots.
const BLANK: u32 = 0x2800;
/// The bits of the dots by column and row of a character.
const BITS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// The canvas.
#[derive(Debug)]
pub(super) struct Canvas {
    columns: usize,
    /// The dots of each character, row by row.
    characters: Vec<u32>,
}

impl Canvas {
    /// An empty canvas of so many characters.
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self { columns, characters: vec![0; columns * rows] }
    }

    /// The number of dots, horizontally and vertically.
    pub(super) fn dots(&self) -> [usize; 2] {
        [2 * self.columns, 4 * self.characters.len() / self.columns]
    }

    fn set(&mut self, [x, y]: [usize; 2]) {
        self.characters[y / 4 * self.columns + x / 2] |= BITS[x % 2][y % 4];
    }

    /// Draws a line between two dots within the canvas. A dashed line has gaps.
    pub(super) fn line(&mut self, from: [usize; 2], to: [usize; 2], dashed: bool) {
        let [dx, dy] = [to[0] as f64 - from[0] as f64, to[1] as f64 - from[1] as f64];
        let length = dx.abs().max(dy.abs()).max(1.0);
        for step in 0..=length as usize {
            let part = step as f64 / length;
            let x = (from[0] as f64 + part * dx).round() as usize;
            let y = (from[1] as f64 + part * dy).round() as usize;
            if !dashed || x % 4 < 2 {
                self.set([x, y]);
            }
        }
    }

    /// The lines of text.
    pub(super) fn rows(&self) -> impl Iterator<Item = String> {
        let character = |dots: &u32| char::from_u32(BLANK + dots).unwrap_or(' ');
        self.characters.chunks(self.columns).map(move |row| row.iter().map(character).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_connect_their_ends() {
        let mut canvas = Canvas::new(2, 1);
        assert_eq!(canvas.dots(), [4, 4]);
        canvas.line([0, 0], [3, 3], false);
        // dots 1, 5 and 3, 8
        assert_eq!(canvas.rows().collect::<Vec<_>>(), ["⠑⢄"]);
        let mut canvas = Canvas::new(4, 1);
        canvas.line([0, 0], [7, 0], true);
        assert_eq!(canvas.rows().collect::<Vec<_>>(), ["⠉⠀⠉⠀"]);
    }
}
