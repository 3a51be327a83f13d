//! Rows of a Parquet file as JSON lines, a row group at a time.

use crate::abi::Failure;
use crate::parquet_pages::check_row_group;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Longer rows are refused where they are used; beyond this no more of one is written.
const MAX_ROW_BYTES: usize = 16 << 20;
const MAX_DEPTH: u32 = 64;
/// Rows written against bytes of the file: encodings repeat a value for almost nothing.
const MAX_EXPANSION: u64 = 1000;
const CHECKED_ABOVE: u64 = 1 << 30;

pub struct ParquetRows {
    path: String,
    columns: Vec<String>,
    num_groups: usize,
    next_group: usize,
    rows: Option<RowIter<'static>>,
    file_size: u64,
    written: u64,
    failure: Option<String>,
}

fn open(path: &str) -> Result<(SerializedFileReader<File>, File), String> {
    let file = File::open(Path::new(path)).map_err(|e| e.to_string())?;
    let other = file.try_clone().map_err(|e| e.to_string())?;
    let reader = SerializedFileReader::new(file).map_err(|e| e.to_string())?;
    Ok((reader, other))
}

impl ParquetRows {
    /// Of `columns` (root names) only; all if it is empty or holds none of the file's.
    pub fn open(path: &str, columns: Vec<String>) -> Result<Self, Failure> {
        let (reader, file) = open(path)?;
        let metadata = reader.metadata();
        let schema = metadata.file_metadata().schema();
        if !schema.is_group() {
            return Err(Failure::from("the schema has no columns".to_string()));
        }
        let known = schema.get_fields().iter().any(|f| columns.iter().any(|c| c == f.name()));
        Ok(ParquetRows {
            path: path.to_string(),
            columns: if known { columns } else { Vec::new() },
            num_groups: metadata.num_row_groups(),
            next_group: 0,
            rows: None,
            file_size: file.metadata().map_err(|e| e.to_string())?.len(),
            written: 0,
            failure: None,
        })
    }

    fn wants(&self, name: &str) -> bool {
        self.columns.is_empty() || self.columns.iter().any(|c| c == name)
    }

    fn projection(&self, schema: &Type) -> Result<Option<Type>, String> {
        if self.columns.is_empty() {
            return Ok(None);
        }
        let fields: Vec<_> =
            schema.get_fields().iter().filter(|f| self.wants(f.name())).cloned().collect();
        let builder = Type::group_type_builder(schema.name()).with_fields(fields);
        builder.build().map(Some).map_err(|e| e.to_string())
    }

    /// The rows of the next group; the file is opened again, so that no decoder outlives its group.
    fn open_group(&mut self) -> Result<(), String> {
        let (reader, file) = open(&self.path)?;
        if reader.metadata().num_row_groups() != self.num_groups {
            return Err("the file changed while it was read".to_string());
        }
        check_row_group(&file, reader.metadata().row_group(self.next_group), &|n| self.wants(n))?;
        let projection = self.projection(reader.metadata().file_metadata().schema())?;
        let group = OneGroup { reader: Arc::new(reader), index: self.next_group };
        let rows = RowIter::from_file_into(Box::new(group));
        self.rows = Some(rows.project(projection).map_err(|e| e.to_string())?);
        self.next_group += 1;
        Ok(())
    }

    fn next_row(&mut self) -> Result<Option<Row>, String> {
        loop {
            if let Some(rows) = self.rows.as_mut() {
                match rows.next() {
                    Some(row) => return row.map(Some).map_err(|e| e.to_string()),
                    None => self.rows = None,
                }
            }
            if self.next_group == self.num_groups {
                return Ok(None);
            }
            self.open_group()?;
        }
    }

    /// Lines of JSON, about `max_bytes` of them and at least one; empty at the end. A failure is
    /// told by the call after the rows before it were handed out.
    pub fn next_batch(&mut self, max_bytes: usize) -> Result<String, Failure> {
        let mut text = String::new();
        if let Some(message) = &self.failure {
            return Err(Failure::from(message.clone()));
        }
        while text.len() < max_bytes {
            let row =
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.next_row())) {
                    Ok(Ok(Some(row))) => write_row(&row, &mut text),
                    Ok(Ok(None)) => break,
                    Ok(Err(message)) => Err(message),
                    Err(_) => Err("the decoder does not know this encoding or type".to_string()),
                };
            self.failure = row.err().or_else(|| self.expansion(text.len()));
            if self.failure.is_some() {
                self.rows = None;
                break;
            }
        }
        self.written += text.len() as u64;
        match &self.failure {
            Some(message) if text.is_empty() => Err(Failure::from(message.clone())),
            _ => Ok(text),
        }
    }

    fn expansion(&self, size: usize) -> Option<String> {
        let total = self.written + size as u64;
        let bomb = total > CHECKED_ABOVE && total / MAX_EXPANSION > self.file_size;
        bomb.then(|| format!("its rows are more than {MAX_EXPANSION} times as long as the file"))
    }
}

/// One row group of a file as if it were the whole file.
struct OneGroup {
    reader: Arc<SerializedFileReader<File>>,
    index: usize,
}

impl FileReader for OneGroup {
    fn metadata(&self) -> &parquet::file::metadata::ParquetMetaData {
        self.reader.metadata()
    }
    fn num_row_groups(&self) -> usize {
        1
    }
    fn get_row_group(
        &self,
        _index: usize,
    ) -> parquet::errors::Result<Box<dyn parquet::file::reader::RowGroupReader + '_>> {
        self.reader.get_row_group(self.index)
    }
    fn get_row_iter(&self, projection: Option<Type>) -> parquet::errors::Result<RowIter<'_>> {
        RowIter::from_file(projection, self)
    }
}

fn write_row(row: &Row, out: &mut String) -> Result<(), String> {
    let begin = out.len();
    let result = write_group(row, out, begin, 0);
    match result {
        Ok(()) => out.push('\n'),
        Err(_) => out.truncate(begin),
    }
    result
}

fn write_group(row: &Row, out: &mut String, begin: usize, depth: u32) -> Result<(), String> {
    out.push('{');
    for (i, (name, field)) in row.get_column_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_field(field, out, begin, depth)?;
    }
    out.push('}');
    Ok(())
}

fn write_list<'a>(
    items: impl Iterator<Item = &'a Field>,
    out: &mut String,
    begin: usize,
    depth: u32,
) -> Result<(), String> {
    out.push('[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_field(item, out, begin, depth)?;
    }
    out.push(']');
    Ok(())
}

fn write_field(field: &Field, out: &mut String, begin: usize, depth: u32) -> Result<(), String> {
    if depth >= MAX_DEPTH {
        return Err(format!("columns are nested more than {MAX_DEPTH} deep"));
    }
    if out.len() - begin > MAX_ROW_BYTES {
        return Err("a row is longer than 16 MiB".to_string());
    }
    match field {
        Field::Null => out.push_str("null"),
        Field::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Field::Byte(v) => write_plain(v, out),
        Field::Short(v) => write_plain(v, out),
        Field::Int(v) => write_plain(v, out),
        Field::Long(v) => write_plain(v, out),
        Field::UByte(v) => write_plain(v, out),
        Field::UShort(v) => write_plain(v, out),
        Field::UInt(v) => write_plain(v, out),
        Field::ULong(v) => write_plain(v, out),
        Field::Float16(v) => write_number(f64::from(v.to_f32()), out),
        Field::Float(v) => write_number(f64::from(*v), out),
        Field::Double(v) => write_number(*v, out),
        Field::Decimal(v) => write_decimal(v.data(), v.scale(), out),
        Field::Str(v) => write_string(v, out),
        Field::Bytes(v) => write_bytes(v.data(), out),
        Field::Date(days) => write_string(&date(i64::from(*days)), out),
        Field::TimeMillis(v) => write_string(&time_of_day(i64::from(*v) * 1000), out),
        Field::TimeMicros(v) => write_string(&time_of_day(*v), out),
        Field::TimestampMillis(v) => write_string(&timestamp(v.saturating_mul(1000)), out),
        Field::TimestampMicros(v) => write_string(&timestamp(*v), out),
        Field::Group(row) => write_group(row, out, begin, depth + 1)?,
        Field::ListInternal(list) => write_list(list.elements().iter(), out, begin, depth + 1)?,
        // A list of pairs, as pyarrow reads a map.
        Field::MapInternal(map) => {
            out.push('[');
            for (i, (key, value)) in map.entries().iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_list([key, value].into_iter(), out, begin, depth + 2)?;
            }
            out.push(']');
        }
    }
    Ok(())
}

fn write_plain(value: &impl std::fmt::Display, out: &mut String) {
    let _ = write!(out, "{value}");
}

/// JSON has no NaN and no infinity: they become null.
fn write_number(value: f64, out: &mut String) {
    match serde_json::Number::from_f64(value) {
        Some(number) => write_plain(&number, out),
        None => out.push_str("null"),
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// Text where it is text, else base64.
fn write_bytes(bytes: &[u8], out: &mut String) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return write_string(text, out);
    }
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push('"');
    for part in bytes.chunks(3) {
        let word =
            part.iter().enumerate().fold(0u32, |w, (i, b)| w | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63] as char;
            out.push(if i <= part.len() { digit } else { '=' });
        }
    }
    out.push('"');
}

/// The exact digits as text: a binary fraction would not be the same number.
fn write_decimal(big_endian: &[u8], scale: i32, out: &mut String) {
    if big_endian.is_empty() || big_endian.len() > 16 {
        return write_bytes(big_endian, out);
    }
    let fill = if big_endian[0] & 0x80 != 0 { 0xff } else { 0 };
    let mut bytes = [fill; 16];
    bytes[16 - big_endian.len()..].copy_from_slice(big_endian);
    let value = i128::from_be_bytes(bytes);
    let scale = scale.clamp(0, 64) as usize;
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    let dot = if scale > 0 { "." } else { "" };
    write_string(&format!("{sign}{whole}{dot}{fraction}"), out);
}

/// Days since 1970-01-01 in the Gregorian calendar, by counting eras of 400 years from a March.
fn date(days: i64) -> String {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn time_of_day(micros: i64) -> String {
    let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let fraction = if rest > 0 { format!(".{rest:06}") } else { String::new() };
    format!("{hours:02}:{minutes:02}:{:02}{fraction}", seconds % 60)
}

fn timestamp(micros: i64) -> String {
    const DAY: i64 = 86_400_000_000;
    format!("{}T{}", date(micros.div_euclid(DAY)), time_of_day(micros.rem_euclid(DAY)))
}
