//! Where ratatui draws: a frame is collected here, without a word to the terminal, and nothing where nothing changed.

use std::io;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::queue;
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};

/// What a terminal that does not know its size is taken for: a serial line, `docker exec`.
const UNKNOWN: Size = Size { width: 80, height: 24 };

/// A frame in the making.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    bytes: Vec<u8>,
    /// Where the cursor is shown, as far as the terminal was told.
    cursor: Option<Position>,
}

impl Canvas {
    /// The frame, and room for the next.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// The terminal was somebody else's meanwhile and shows no cursor now.
    pub(super) const fn forget_cursor(&mut self) {
        self.cursor = None;
    }
}

impl Backend for Canvas {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        CrosstermBackend::new(&mut self.bytes).draw(content)?;
        // Drawing moves the cursor.
        if let Some(position) = self.cursor {
            queue!(self.bytes, MoveTo(position.x, position.y))?;
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if self.cursor.take().is_some() {
            queue!(self.bytes, Hide)?;
        }
        Ok(())
    }

    /// Ratatui shows a cursor and then says where: both are done there.
    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // Asking the terminal would wait for its answer.
        Ok(self.cursor.unwrap_or(Position::ORIGIN))
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        if self.cursor != Some(position) {
            queue!(self.bytes, MoveTo(position.x, position.y))?;
        }
        if self.cursor.replace(position).is_none() {
            queue!(self.bytes, Show)?;
        }
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        CrosstermBackend::new(&mut self.bytes).clear_region(region)
    }

    fn size(&self) -> io::Result<Size> {
        // Not `crossterm::terminal::size`, which runs a program where the kernel does not answer.
        let size = crossterm::terminal::window_size()?;
        let known = size.columns > 0 && size.rows > 0;
        Ok(if known { Size::new(size.columns, size.rows) } else { UNKNOWN })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_costs_bytes() {
        let mut canvas = Canvas::default();
        canvas.hide_cursor().unwrap();
        canvas.draw(std::iter::empty()).unwrap();
        assert_eq!(canvas.take(), b"", "nothing was drawn, and the cursor is hidden from the start");
        canvas.set_cursor_position((2, 1)).unwrap();
        assert_eq!(canvas.take(), b"\x1b[2;3H\x1b[?25h");
        canvas.set_cursor_position((2, 1)).unwrap();
        assert_eq!(canvas.take(), b"", "it is there already");
        let cell = Cell::new("x");
        canvas.draw([(0, 0, &cell)].into_iter()).unwrap();
        assert!(canvas.take().ends_with(b"\x1b[2;3H"), "drawing moved the cursor: it is put back");
        canvas.hide_cursor().unwrap();
        assert_eq!(canvas.take(), b"\x1b[?25l");
    }
}
