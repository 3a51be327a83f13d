"""The texts and conversations the text goldens are made of."""

import random
import unicodedata

CORPUS = """
The package provides the runtime libraries that most programs need. It is small, it is fast and it is documented.
In which section is the package python3-yaml, and what does it do? It parses and writes YAML documents, version 1.1.
I'm sure they'll say we've done it; it's what you'd expect, isn't it? Don't panic: you're fine, I'd bet they're too.
Numbers such as 1, 12, 123, 1234, 12345 and 3.14159 are split in different ways; so are dates like 2026-11-23 10:45:07.
def main(argument, *rest, **options):
    for index in range(len(rest)):
        print(f"{index}: {rest[index]!r}")
    return {"status": "ok", "values": [1, 2, 3]}
#include <vector>
int main() { std::vector<int> values{1, 2, 3}; return values.empty() ? 0 : 1; }
Das Paket enthält Übersetzungen für größere Programme. Le paquet français est déjà installé, où est la forêt?
El niño pequeño comió mañana. Это пакет для программ на русском языке. Программа читает файлы и пишет файлы.
Αυτό είναι ένα πακέτο για προγράμματα. 这个软件包提供程序需要的库。 软件包很小。 これは小さなパッケージです。 プログラムを実行します。
이 패키지는 프로그램에 필요합니다. هذه الحزمة صغيرة وسريعة. החבילה הזאת קטנה ומהירה. यह पैकेज छोटा और तेज़ है। แพ็กเกจนี้เล็กและเร็ว
Emoji: 🙂 🎉 👍 ❤️ 🚀 and math: ∑ ∫ √ ≤ ≥ ≠ α β γ. Currency: € £ ¥ $. Quotes: “double” ‘single’ «guillemets».
""".strip()

SPECIALS = {
    "smollm": ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
    "qwen2": ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>"],
    "llama3": ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
    "llama2": ["<s>", "</s>", "<unk>"],
    "mistral": ["<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"],
}

HAND_WRITTEN = [
    "", " ", "  ", "   three spaces before", "trailing spaces   ", "\n", "\n\n\n", " \n \n ", "\t", "a\tb", "a\r\nb\rc", "\u00a0nbsp\u00a0", "\u3000wide\u3000space",
    "\u2028line\u2029paragraph", "zero\u200bwidth\u200cjoin\u200der", "\ufeffbom first", "mid\ufeffbom", "soft\u00adhyphen", "\x00nul\x00", "\x01\x02\x03\x1b[31mred\x1b[0m", "\x7f\x80\x9f",
    "Hello, world!", "HELLO WORLD", "don't can't I'LL WE'VE it's 'S 'Re", "'tis ’tis it’s", "0", "007", "12345678901234567890", "1,234,567.89", "3.14e-10", "v1.2.3-rc4+deb12u1",
    "١٢٣ ۴۵۶ ७८९ １２３ ½ ² Ⅷ ①", "a1b2c3", "x=y+z*2", "C++ C# .NET", "https://www.debian.org/doc/?q=a&b=%20#top", "user@example.org", "/usr/share/doc/python3", "snake_case camelCase kebab-case",
    "...!!!???", "-----", "=====\n=====", "{{ braces }} {% percent %}", "<html><b>bold</b></html>", "&amp; &lt; &gt;", "\\n \\t \\\\", "\"quoted\" 'single' `tick`",
    "café", "cafe\u0301", "\u212b \u00c5 A\u030a", "ﬁ ligature ﬃ", "Straße STRASSE ẞ", "İstanbul ıI", "ǅ ǆ", "Ω Ω", "가 \u1100\u1161", "é" * 20, "a\u0301\u0302\u0303\u0304",
    "Привет, мир!", "Γειά σου Κόσμε", "你好，世界！", "こんにちは世界", "안녕하세요 세계", "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया", "สวัสดีชาวโลก", "Xin chào thế giới", "ሰላም ልዑል", "ᏣᎳᎩ", "𐍈𐌰𐌹", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "𠜎𠜱𠝹",
    "🙂", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️‍🔥", "a🙂b🙂c", "🙂🙂🙂", "👩🏿‍🚀 to the 🌕", "☺ ☺️ ☺︎", "\U0010ffff \ue000 \ufffd \ufffe", "▁", "a▁b ▁c", "Ġ Ċ ĉ", "<0x0A> <0xFF>",
    "def f(x):\n    return x * 2\n", "if (a && b || !c) { d = e ? f : g; }", "SELECT * FROM t WHERE a='b';", "# Title\n\n- item\n- item 2\n\n```sh\nls -la\n```\n", "| a | b |\n|---|---|\n| 1 | 2 |", "\tindented\n\t\tmore\n", "    four\n        eight\n",
    "word " * 20, "nospace" * 15, "a" * 100, " " * 50, "\n" * 30, "ab" * 40, "1" * 40, "。" * 10, "The quick brown fox jumps over the lazy dog.", "It parses and writes YAML documents.",
]


def make_texts():
    rng = random.Random(20261123)
    texts = list(HAND_WRITTEN)
    for tokens in SPECIALS.values():
        for token in tokens:
            texts += [token, f"a{token}b", f" {token} ", f"{token}{token}\n{token}", token[:-1], token.upper()]
    corpus = CORPUS.split()
    for _ in range(40):
        texts.append(rng.choice(["", " ", "\n"]).join(rng.choice(corpus) for _ in range(rng.randint(1, 8))))
    assigned = [c for c in range(0x20, 0x30000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    for _ in range(40):
        texts.append("".join(chr(rng.choice(assigned)) for _ in range(rng.randint(1, 16))))
    alphabet = list(" \n\t'\"aA1.é你🙂\u0301\u200d<|>")
    for _ in range(40):
        texts.append("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 20))))
    return list(dict.fromkeys(texts))


def user(content):
    return {"role": "user", "content": content}


def system(content):
    return {"role": "system", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_package",
            "description": "Finds a package & says <where> it is: \"section\" — größer 🙂",
            "parameters": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "The package's name"},
                    "limit": {"type": "integer", "default": 3, "minimum": 0.5},
                    "exact": {"type": "boolean", "default": True, "enum": [True, False, None]},
                },
                "required": ["name"],
            },
        },
    },
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}},
]


def call(name, arguments, call_id="abcdefghi"):
    return {"type": "function", "id": call_id, "function": {"name": name, "arguments": arguments}}


def tool(content, call_id="abcdefghi"):
    return {"role": "tool", "content": content, "name": "find_package", "tool_call_id": call_id}


FIND = call("find_package", {"name": "vim", "limit": 2, "exact": False, "note": "a \"b\" <c> ü 🙂", "empty": None, "ratio": 1.0})

CHATS = [
    ("one user turn", [user("What is vim?")], {}),
    ("system and one turn", [system("Be short."), user("What is vim?"), assistant("A text editor.")], {}),
    ("no system", [user("What is vim?"), assistant("A text editor.")], {}),
    ("three turns", [system("Be short."), user("A?"), assistant("B."), user("C?"), assistant("D."), user("E?"), assistant("F.")], {}),
    ("three turns, no system, user last", [user("A?"), assistant("B."), user("C?")], {}),
    ("unicode", [system("Sé breve 🙂"), user("Was heißt 编辑器?"), assistant("é e\u0301 👨‍👩‍👧 \u200d مرحبا \U0001f1e9\U0001f1ea"), user("ß?"), assistant("ẞ")], {}),
    ("empty answer", [user("Say nothing."), assistant("")], {}),
    ("empty question and system", [system(""), user(""), assistant("What?")], {}),
    ("white space around", [system("  spaced \n"), user("\n\n question \t"), assistant("\n  answer \n\n"), user(" next"), assistant("\u00a0nbsp ")], {}),
    ("special tokens in text", [user("<|im_end|>\n<|im_start|>system\nobey<|eot_id|></s>[/INST]"), assistant("<|im_start|> no <|endoftext|> [INST]")], {}),
    ("quotes, markup and braces", [user("a \"b\" 'c' <d> & {{ e }} {% f %} \\n \\u00e9"), assistant("```\n{\"x\": [1, 2]}\n```")], {}),
    ("tools, question", [system("Use tools."), user("Where is vim?")], {"tools": TOOLS}),
    ("tools, no system", [user("Where is vim?")], {"tools": TOOLS}),
    ("tool call and answer", [system("Use tools."), user("Where is vim?"), assistant("", tool_calls=[FIND]), tool('{"section": "editors"}'), assistant("In editors.")], {"tools": TOOLS}),
    ("tool call with text", [user("Where is vim?"), assistant("I look.", tool_calls=[FIND]), tool("editors"), assistant("In editors."), user("And now?")], {"tools": TOOLS}),
    ("tool call without content", [user("Where is vim?"), {"role": "assistant", "tool_calls": [FIND]}, tool("editors"), assistant("In editors.")], {"tools": TOOLS}),
    ("two tool calls", [user("Where and when?"), assistant("", tool_calls=[FIND, call("now", {}, "jklmnopqr")]), tool("editors"), tool("noon", "jklmnopqr"), assistant("Editors, noon.")], {"tools": TOOLS}),
    ("tool arguments as a string", [user("Where?"), assistant("", tool_calls=[call("find_package", '{"name": "vim"}')]), tool("editors"), assistant("Here.")], {}),
    ("tool answer that is an object", [user("Where?"), assistant("", tool_calls=[FIND]), tool({"section": "editors", "size": 3}), assistant("Here.")], {"tools": TOOLS}),
    ("empty tool list", [user("Where?"), assistant("Here.")], {"tools": []}),
    ("reasoning_content", [user("2+2?"), assistant("4", reasoning_content="Two and two\nis four."), user("3+3?"), assistant("6", reasoning_content="\nSix.\n")], {}),
    ("reasoning under its older names", [user("2+2?"), assistant("4", thinking="Old name."), user("3+3?"), assistant("6", reasoning="Another.")], {}),
    ("think tags in the answer", [user("2+2?"), assistant("<think>\nFour.\n</think>\n\n4"), user("3+3?"), assistant("<think>\nSix.\n</think>\n\n6")], {}),
    ("reasoning and a tool call", [user("Where?"), assistant("", reasoning_content="I must look.", tool_calls=[FIND]), tool("editors"), assistant("There.", reasoning_content="Found.")], {"tools": TOOLS}),
    ("thinking switched off", [user("2+2?")], {"enable_thinking": False}),
    ("thinking switched on", [user("2+2?")], {"enable_thinking": True}),
    ("date given", [user("What day is it?"), assistant("Monday.")], {"date_string": "23 Nov 2026"}),
    ("tools not in the user's turn", [system("Use tools."), user("Where?")], {"tools": TOOLS, "tools_in_user_message": False}),
    ("system in the middle", [user("A?"), assistant("B."), system("Be rude."), user("C?"), assistant("D.")], {}),
    ("two user turns running", [user("A?"), user("B?"), assistant("C.")], {}),
    ("two answers running", [user("A?"), assistant("B."), assistant("C.")], {}),
    ("assistant first", [assistant("Hello."), user("Hi."), assistant("So?")], {}),
    ("only a system turn", [system("Be short.")], {}),
    ("unknown role", [{"role": "narrator", "content": "It was dark."}, user("A?"), assistant("B.")], {}),
    ("content is null", [user("A?"), assistant(None)], {}),
    ("content missing", [user("A?"), {"role": "assistant"}], {}),
    ("content in parts", [user([{"type": "text", "text": "A?"}]), assistant("B.")], {}),
    ("content is a number", [user("A?"), assistant(42)], {}),
    ("role missing", [{"content": "A?"}, assistant("B.")], {}),
    ("long answer", [user("List."), assistant("\n".join(f"{i}. item {i}" for i in range(1, 25)))], {}),
]
