//! `tojson` as Python's json.dumps writes it, which is what templates are written against.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

struct Style {
    ensure_ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

const MAX_DEPTH: usize = 128;

/// The filter, with transformers' parameters in transformers' order.
pub fn tojson(
    value: &Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    separators: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let pick = |given: Option<Value>, name: &str| -> Result<Value, Error> {
        match given {
            Some(v) => Ok(v),
            None => Ok(kwargs.get::<Option<Value>>(name)?.unwrap_or(Value::from(()))),
        }
    };
    let ensure_ascii = pick(ensure_ascii, "ensure_ascii")?.is_true();
    let indent = indent_of(&pick(indent, "indent")?);
    let separators = pick(separators, "separators")?;
    let sort_keys = pick(None, "sort_keys")?.is_true();
    kwargs.assert_all_used()?;
    let (item_separator, key_separator) = if separators.is_none() {
        (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string())
    } else {
        (text_at(&separators, 0)?, text_at(&separators, 1)?)
    };
    let style = Style { ensure_ascii, indent, item_separator, key_separator, sort_keys };
    let mut out = String::new();
    write(&mut out, value, &style, 0)?;
    Ok(Value::from(out))
}

fn indent_of(value: &Value) -> Option<String> {
    if value.is_none() || value.is_undefined() {
        None
    } else if let Some(text) = value.as_str() {
        Some(text.to_string())
    } else {
        Some(" ".repeat(value.as_usize().unwrap_or(0).min(256)))
    }
}

fn text_at(value: &Value, index: usize) -> Result<String, Error> {
    let item = value.get_item_by_index(index)?;
    item.as_str().map(str::to_string).ok_or_else(|| refuse("separators must be two strings"))
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadSerialization, message.into())
}

fn write(out: &mut String, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(refuse("tojson: value is nested too deep"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => quote(out, value.as_str().unwrap_or_default(), style.ensure_ascii),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            let mut first = true;
            for item in value.try_iter()?.checked() {
                separate(out, style, &mut first, depth);
                write(out, &item?, style, depth + 1)?;
            }
            close(out, style, first, depth, ']');
        }
        ValueKind::Map => write_map(out, value, style, depth)?,
        kind => {
            return Err(refuse(format!("tojson: a value of kind {kind} is not JSON serializable")))
        }
    }
    Ok(())
}

fn write_map(out: &mut String, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    let mut keys: Vec<Value> = value.try_iter()?.checked().collect::<Result<_, _>>()?;
    if style.sort_keys {
        keys.sort_by_key(|k| k.to_string());
    }
    out.push('{');
    let mut first = true;
    for key in keys {
        separate(out, style, &mut first, depth);
        let name = match key.kind() {
            ValueKind::None => "null".to_string(),
            ValueKind::Bool => key.to_string().to_lowercase(),
            ValueKind::Number => number(&key),
            ValueKind::String => key.to_string(),
            kind => return Err(refuse(format!("tojson: keys can't be of kind {kind}"))),
        };
        quote(out, &name, style.ensure_ascii);
        out.push_str(&style.key_separator);
        write(out, &value.get_item(&key)?, style, depth + 1)?;
    }
    close(out, style, first, depth, '}');
    Ok(())
}

fn separate(out: &mut String, style: &Style, first: &mut bool, depth: usize) {
    if !*first {
        out.push_str(&style.item_separator);
    }
    *first = false;
    new_line(out, style, depth + 1);
}

fn close(out: &mut String, style: &Style, empty: bool, depth: usize, bracket: char) {
    if !empty {
        new_line(out, style, depth);
    }
    out.push(bracket);
}

fn new_line(out: &mut String, style: &Style, depth: usize) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(indent);
        }
    }
}

fn quote(out: &mut String, text: &str, ensure_ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (ensure_ascii && !(' '..='~').contains(&c)) => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(v) if v.is_nan() => "NaN".to_string(),
        Ok(v) if v.is_infinite() => if v > 0.0 { "Infinity" } else { "-Infinity" }.to_string(),
        Ok(v) => python_float(v),
        Err(_) => value.to_string(),
    }
}

/// repr() of a finite float: shortest digits that round-trip, an exponent below 1e-4 and from 1e16.
pub fn python_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') {
        plain
    } else {
        plain + ".0"
    }
}
