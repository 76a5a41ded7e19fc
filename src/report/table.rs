//! Tables in kubectl's form: columns padded to the widest cell and three spaces apart.

/// Column widths that a following table keeps, so that a watch goes on in line.
#[derive(Debug, Default)]
pub struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// The lines of these rows. A column is as wide as its widest cell so far, a first row of headers included.
    pub fn lines(&mut self, rows: &[Vec<String>]) -> Vec<String> {
        for row in rows {
            self.widths.resize(self.widths.len().max(row.len()), 0);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String]) -> String {
        let padded: Vec<_> =
            row.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("   ").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up_and_rows_have_no_tail() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let mut table = Table::default();
        assert_eq!(
            table.lines(&[row(["NAME", "READY", "AGE"]), row(["server-app", "1/1", "5s"])]),
            ["NAME         READY   AGE", "server-app   1/1     5s"]
        );
        assert_eq!(table.lines(&[row(["x", "0/1", ""])]), ["x            0/1"]);
    }
}
