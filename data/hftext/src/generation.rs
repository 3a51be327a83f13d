//! `{% generation %}` blocks: rewritten to filter blocks, which have the same whitespace rules, whose output is put
//! between two marks; the marks are cut out after rendering.

pub const FILTER: &str = "hft_generation";
pub const OPEN_NAME: &str = "hft_mark_open";
pub const CLOSE_NAME: &str = "hft_mark_close";

/// The source with every generation tag replaced, on the same lines, and whether there was one.
pub fn rewrite(source: &str) -> (String, bool) {
    let mut out = String::with_capacity(source.len());
    let mut found = false;
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        match parse_tag(rest) {
            Some((open, close, name, size)) => {
                found = true;
                let breaks = "\n".repeat(rest[..size].matches('\n').count());
                let body = if name == "generation" {
                    format!("filter {FILTER}")
                } else {
                    "endfilter".into()
                };
                out.push_str(&format!("{{%{open} {body}{breaks} {close}%}}"));
                rest = &rest[size..];
            }
            None => {
                out.push_str("{%");
                rest = &rest[2..];
            }
        }
    }
    out.push_str(rest);
    (out, found)
}

/// `{%- generation -%}` or `{%- endgeneration -%}` at the start of `text`: whitespace controls, name, length.
fn parse_tag(text: &str) -> Option<(&str, &str, &str, usize)> {
    let end = text.find("%}")?;
    let mut inner = &text[2..end];
    let mut controls = ["", ""];
    if inner.starts_with(['-', '+']) {
        controls[0] = &inner[..1];
        inner = &inner[1..];
    }
    if inner.ends_with(['-', '+']) {
        controls[1] = &inner[inner.len() - 1..];
        inner = &inner[..inner.len() - 1];
    }
    let name = inner.trim();
    (name == "generation" || name == "endgeneration").then_some((
        controls[0],
        controls[1],
        name,
        end + 2,
    ))
}

/// Two private-use characters that are in neither text, so rows can hold any character.
pub fn choose_marks(template: &str, context: &str) -> (char, char) {
    let free: Vec<char> = ('\u{F0000}'..='\u{FFFFD}')
        .filter(|c| !template.contains(*c) && !context.contains(*c))
        .take(2)
        .collect();
    match free[..] {
        [open, close] => (open, close),
        _ => ('\u{F0000}', '\u{F0001}'),
    }
}

/// Cuts the marks out of `text`; byte spans of the cut text between them. None when marks do not pair up, which a
/// template reaches by cutting a block's output apart.
pub fn cut_marks(text: &str, open: char, close: char) -> Option<(String, Vec<(usize, usize)>)> {
    let mut out = String::with_capacity(text.len());
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut starts = Vec::new();
    for c in text.chars() {
        if c == open {
            starts.push(out.len());
        } else if c == close {
            spans.push((starts.pop()?, out.len()));
        } else {
            out.push(c);
        }
    }
    spans.sort_unstable();
    starts.is_empty().then_some((out, spans))
}
