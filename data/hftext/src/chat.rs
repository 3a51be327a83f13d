//! A chat template as transformers compiles it: trim_blocks, lstrip_blocks, loop controls, Python's string methods,
//! with budgets for steps, memory, output and recursion.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{escape_formatter, AutoEscape, Environment, Error, ErrorKind, State};
use serde::Deserialize;

use crate::abi::Failure;
use crate::{clock, generation, pyjson};

const NAME: &str = "chat_template";
const NOW_NAME: &str = "hft_now";
const MAX_OUTPUT_BYTES: usize = 16 << 20;
const RECURSION_LIMIT: usize = 256;
/// Instructions, and 64-byte units of data, a render may use before the input's own size is added.
const BASE_FUEL: u64 = 8_000_000;

pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    has_generation: bool,
}

impl ChatTemplate {
    pub fn compile(source: &str) -> Result<Self, Failure> {
        let (source, has_generation) = generation::rewrite(&source.replace("\r\n", "\n"));
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| Failure::from(e.to_string()))?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_recursion_limit(RECURSION_LIMIT);
        environment.set_debug(true);
        environment.set_formatter(|out, state, value| match float_of(value) {
            Some(number) => out.write_str(&pyjson::python_float(number)).map_err(Error::from),
            None => escape_formatter(out, state, value),
        });
        environment.add_test("iterable", |v: &Value| !v.is_none() && v.try_iter().is_ok());
        environment.add_test("sequence", is_sequence);
        environment.add_filter("tojson", pyjson::tojson);
        environment.add_filter(generation::FILTER, mark_generation);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_template_owned(NAME, source.clone()).map_err(failure)?;
        Ok(ChatTemplate { environment, source, has_generation })
    }

    pub fn has_generation(&self) -> bool {
        self.has_generation
    }

    /// The text and the byte spans of its generation blocks.
    pub fn render(
        &self,
        context_json: &str,
        now_unix: i64,
    ) -> Result<(String, Vec<(usize, usize)>), Failure> {
        let mut reader = serde_json::Deserializer::from_str(context_json);
        let context = Value::deserialize(&mut reader).map_err(|e| Failure::from(e.to_string()))?;
        let (open, close) = generation::choose_marks(&self.source, context_json);
        let hidden = Value::from_pairs([
            (NOW_NAME, Value::from(now_unix)),
            (generation::OPEN_NAME, Value::from(open.to_string())),
            (generation::CLOSE_NAME, Value::from(close.to_string())),
        ]);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(BASE_FUEL + context_json.len() as u64 * 4));
        let template = environment.get_template(NAME).map_err(failure)?;
        let mut out = LimitedOutput(Vec::new());
        let merged = minijinja::value::merge_maps([context, hidden]);
        let rendered = template.render_captured_to(merged, &mut out);
        if out.0.len() > MAX_OUTPUT_BYTES {
            let line = rendered.err().and_then(|e| e.line()).unwrap_or(0) as u32;
            return Err(Failure { message: "the template writes more than 16 MiB".into(), line });
        }
        rendered.map_err(failure)?;
        let text = String::from_utf8(out.0).map_err(|e| Failure::from(e.to_string()))?;
        if !self.has_generation {
            return Ok((text, Vec::new()));
        }
        generation::cut_marks(&text, open, close).ok_or_else(|| {
            Failure::from(
                "the template cuts the text of a {% generation %} block apart".to_string(),
            )
        })
    }
}

struct LimitedOutput(Vec<u8>);

impl io::Write for LimitedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        if self.0.len() > MAX_OUTPUT_BYTES {
            return Err(io::Error::other("output is too large"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As Jinja's test, for which all that has a length and an item access is one: also strings, mappings and what is
/// undefined.
fn is_sequence(value: &Value) -> bool {
    use ValueKind::{Map, Seq, String, Undefined};
    matches!(value.kind(), Seq | Map | String | Undefined)
}

fn float_of(value: &Value) -> Option<f64> {
    if !value.is_number() || value.is_integer() {
        return None;
    }
    f64::try_from(value.clone()).ok().filter(|v| v.is_finite())
}

fn mark_generation(state: &State, text: &str) -> String {
    let mark = |name: &str| state.lookup(name).map(|v| v.to_string()).unwrap_or_default();
    format!("{}{text}{}", mark(generation::OPEN_NAME), mark(generation::CLOSE_NAME))
}

fn raise_exception(message: Value) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("the template refuses: {message}")))
}

fn strftime_now(state: &State, format: &str) -> Result<String, Error> {
    let now = state.lookup(NOW_NAME).and_then(|v| v.as_i64()).unwrap_or(0);
    clock::strftime(format, now)
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "strftime_now: bad format"))
}

/// The innermost message with the outermost template line.
fn failure(error: Error) -> Failure {
    let line = error.line().unwrap_or(0) as u32;
    let message = match error.kind() {
        ErrorKind::OutOfFuel => "the template does too much work (an endless loop?)".to_string(),
        kind => error.detail().map_or_else(|| kind.to_string(), |d| format!("{kind}: {d}")),
    };
    Failure { message, line }
}
