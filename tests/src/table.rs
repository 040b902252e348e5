//! The table of checks, one row per check, as text and as JSON.

use serde::{Deserialize, Serialize};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The error is within the limit.
    Ok,
    /// The error is above the limit, or the check itself failed.
    Fail,
    /// This machine or build cannot run it.
    NotChecked,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "FAIL",
            Self::NotChecked => "NOT CHECKED",
        }
    }
}

/// One check and its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The operation or cell.
    pub subject: String,
    /// The sizes and special conditions.
    pub shape: String,
    /// The backend's name.
    pub backend: String,
    /// The path's name on that backend.
    pub path: String,
    /// The largest absolute error; none if nothing was compared. JSON has no infinity and writes null.
    pub worst_abs: Option<f64>,
    /// The largest error relative to its quantity's largest magnitude.
    pub worst_rel: Option<f64>,
    /// The largest relative error that passes.
    pub limit: f64,
    /// The result.
    pub status: Status,
    /// Why it was not checked, or why there is no comparison.
    pub reason: String,
    /// The element with the largest relative error, with both values.
    #[serde(rename = "where")]
    pub location: String,
}

impl Row {
    /// A row for something that could not be checked.
    pub fn not_checked(subject: &str, backend: &str, path: &str, reason: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            shape: String::new(),
            backend: backend.to_owned(),
            path: path.to_owned(),
            worst_abs: None,
            worst_rel: None,
            limit: 0.0,
            status: Status::NotChecked,
            reason: reason.to_owned(),
            location: String::new(),
        }
    }

    /// Whether subject, shape, backend or path contain `text`.
    pub fn matches(&self, text: &str) -> bool {
        format!("{} {} {} {}", self.subject, self.shape, self.backend, self.path).contains(text)
    }

    fn line(&self, [subject, shape, path]: [usize; 3]) -> String {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1e}"));
        let limit = if self.status == Status::NotChecked { None } else { Some(self.limit) };
        let mut line = format!(
            "{:<subject$}  {:<shape$}  {:<path$}  {:>8}  {:>8}  {:>7}  {}",
            self.subject,
            self.shape,
            self.full_path(),
            number(self.worst_abs),
            number(self.worst_rel),
            number(limit),
            self.status.text(),
        );
        let location = if self.status == Status::Fail { self.location.as_str() } else { "" };
        for note in [self.reason.as_str(), location].into_iter().filter(|note| !note.is_empty()) {
            line.push_str(": ");
            line.push_str(note);
        }
        line.trim_end().to_owned()
    }

    fn full_path(&self) -> String {
        [self.backend.as_str(), self.path.as_str()].join(" ").trim().to_owned()
    }
}

/// All rows, and the number of rows per status.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    /// The rows, in the order of the checks.
    pub rows: Vec<Row>,
    /// The number of rows that passed.
    pub ok: usize,
    /// The number of rows that failed.
    pub failed: usize,
    /// The number of rows that could not be checked.
    pub not_checked: usize,
}

impl Table {
    /// Counts the rows.
    pub fn new(rows: Vec<Row>) -> Self {
        let count = |status| rows.iter().filter(|row| row.status == status).count();
        let (ok, failed, not_checked) = (count(Status::Ok), count(Status::Fail), count(Status::NotChecked));
        Self { rows, ok, failed, not_checked }
    }

    /// The lines of the rows that failed.
    pub fn failures(&self) -> String {
        let failed = self.rows.iter().filter(|row| row.status == Status::Fail);
        failed.map(|row| row.line([0; 3]) + "\n").collect()
    }

    /// The table as text, with the totals last.
    pub fn text(&self) -> String {
        let width = |of: fn(&Row) -> usize| self.rows.iter().map(of).max().unwrap_or(0);
        let widths = [
            width(|row| row.subject.chars().count()).max("subject".len()),
            width(|row| row.shape.chars().count()).max("shape".len()),
            width(|row| row.full_path().chars().count()).max("path".len()),
        ];
        let [subject, shape, path] = widths;
        let mut text = format!(
            "{:<subject$}  {:<shape$}  {:<path$}  {:>8}  {:>8}  {:>7}  status\n",
            "subject", "shape", "path", "abs", "rel", "limit"
        );
        for row in &self.rows {
            text.push_str(&row.line(widths));
            text.push('\n');
        }
        text.push_str(&format!("\n{} ok, {} failed, {} not checked\n", self.ok, self.failed, self.not_checked));
        text
    }

    /// The table as JSON.
    ///
    /// # Errors
    /// Never in practice: every field is a string or a number.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let failed = Row {
            shape: "T2 N3".to_owned(),
            worst_abs: Some(f64::INFINITY),
            worst_rel: Some(0.5),
            limit: 1e-5,
            status: Status::Fail,
            location: "lstm, forget gate, t = 1, row 0, unit 2: 0.5 against 1".to_owned(),
            reason: String::new(),
            ..Row::not_checked("lstm", "cpu", "reference", "")
        };
        Table::new(vec![failed, Row::not_checked("all", "cuda", "", "no driver")])
    }

    #[test]
    fn text_has_the_location_of_a_failure_and_the_reason_of_an_unchecked_row() {
        let text = table().text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with("FAIL: lstm, forget gate, t = 1, row 0, unit 2: 0.5 against 1"), "{text}");
        assert!(lines[2].starts_with("all") && lines[2].ends_with("NOT CHECKED: no driver"), "{text}");
        assert_eq!(lines[4], "0 ok, 1 failed, 1 not checked");
    }

    #[test]
    fn json_has_exactly_the_documented_keys() {
        let json: serde_json::Value = serde_json::from_str(&table().json().unwrap()).unwrap();
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&json), ["rows", "ok", "failed", "not_checked"]);
        let row =
            ["subject", "shape", "backend", "path", "worst_abs", "worst_rel", "limit", "status", "reason", "where"];
        assert_eq!(keys(&json["rows"][0]), row);
        assert_eq!([&json["rows"][0]["status"], &json["rows"][1]["status"]], ["fail", "not_checked"]);
        assert!(json["rows"][0]["worst_abs"].is_null());
    }
}
