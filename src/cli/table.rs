//! Tables that fit the terminal.

use std::io::{self, IsTerminal as _};

use rustix::termios::tcgetwinsize;

/// The assumed width of a terminal that does not say its own.
const WIDTH: usize = 80;
const GAP: usize = 2;
/// The end of a truncated cell.
const CUT: char = '…';

/// Returns the width of standard output; None if it is no terminal.
pub(super) fn terminal_width() -> Option<usize> {
    let stdout = io::stdout();
    let size = || tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    stdout.is_terminal().then(|| size().unwrap_or(WIDTH))
}

/// A column.
pub(super) struct Column {
    title: &'static str,
    /// Whether its cells may be truncated.
    is_cut: bool,
}

impl Column {
    pub(super) fn fixed(title: &'static str) -> Self {
        Self { title, is_cut: false }
    }

    pub(super) fn cut(title: &'static str) -> Self {
        Self { title, is_cut: true }
    }
}

/// Rows of cells under titles.
pub(super) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [Column; N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Formats the table; cells are truncated so that lines have at most `width` characters, if there is one.
    pub(super) fn text(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let titles = self.columns.each_ref().map(|column| column.title.to_owned());
        let lines = std::iter::once(&titles).chain(&self.rows).map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{:<width$}", cut(cell, *width)));
            cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let longest = |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
        let title = |column: &Column| column.title.chars().count();
        let columns = self.columns.iter().enumerate();
        let mut widths: Vec<_> = columns.map(|(at, column)| longest(at).unwrap_or(0).max(title(column))).collect();
        let room = width.map(|width| width.saturating_sub(GAP * N.saturating_sub(1)));
        while room.is_some_and(|room| widths.iter().sum::<usize>() > room) {
            let cuttable =
                widths.iter_mut().zip(&self.columns).filter(|(width, column)| column.is_cut && **width > title(column));
            let Some((widest, _)) = cuttable.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
        }
        widths
    }
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain([CUT]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_cells_are_cut() {
        let mut table = Table::new([Column::cut("A"), Column::fixed("B"), Column::cut("C")]);
        let row = ["é".repeat(60), "2026-11-22T00:00:00Z".to_owned(), "c".repeat(100)];
        table.row(row.clone());
        let narrow = table.text(Some(80));
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        assert!(narrow.contains("2026-11-22T00:00:00Z") && narrow.contains("é…") && narrow.ends_with("c…"), "{narrow}");
        assert!(row.iter().all(|cell| table.text(None).contains(cell)));
    }
}
