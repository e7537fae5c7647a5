//! JSON as Go's `encoding/json` reads it: the same acceptance and the same error texts, because ZITADEL's gateway hands
//! them to the client. Every node keeps its place in the text, because `protojson` prints line and column.

use std::fmt;

/// A parsed value; `start..end` is its place in the source that `parse` returned with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// The literal as written.
    Number(String),
    String(String),
    Array(Vec<Node>),
    /// Keys with their own places, in order, duplicates kept.
    Object(Vec<(Node, Node)>),
}

/// Why the text is not JSON, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SyntaxError {
    UnexpectedEof,
    Unexpected(char, &'static str),
    UnexpectedInLiteral(char, &'static str, char),
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedEof => f.write_str("unexpected EOF"),
            Self::Unexpected(found, context) => write!(f, "invalid character {} {context}", quote_char(*found)),
            Self::UnexpectedInLiteral(found, literal, expected) => {
                let expected = quote_char(*expected);
                write!(f, "invalid character {} in literal {literal} (expecting {expected})", quote_char(*found))
            }
        }
    }
}

fn quote_char(found: char) -> String {
    match found {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        other => format!("{:?}", other.to_string()).replace('"', "'"),
    }
}

/// The first JSON value of the text and the source its places refer to. `None` for a text of nothing but space.
/// Whatever follows the value is ignored, as the gateway ignores it.
pub(crate) fn parse(text: &str) -> Result<Option<(Node, &str)>, SyntaxError> {
    // Places count from the value itself: the gateway hands only that to protojson.
    let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    if text.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser { text, at: 0 };
    let node = parser.value("looking for beginning of value")?;
    Ok(Some((node, text)))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Result<char, SyntaxError> {
        let found = self.peek().ok_or(SyntaxError::UnexpectedEof)?;
        self.at += found.len_utf8();
        Ok(found)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r' | '\n')) {
            self.at += 1;
        }
    }

    fn value(&mut self, context: &'static str) -> Result<Node, SyntaxError> {
        self.skip_space();
        let start = self.at;
        let value = match self.next()? {
            '{' => self.object()?,
            '[' => self.array()?,
            '"' => Value::String(self.string()?),
            't' => self.literal("true", Value::Bool(true))?,
            'f' => self.literal("false", Value::Bool(false))?,
            'n' => self.literal("null", Value::Null)?,
            first @ ('-' | '0'..='9') => self.number(first, start)?,
            other => return Err(SyntaxError::Unexpected(other, context)),
        };
        Ok(Node { start, end: self.at, value })
    }

    fn object(&mut self) -> Result<Value, SyntaxError> {
        let mut members = Vec::new();
        self.skip_space();
        if self.peek() == Some('}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            let start = self.at;
            match self.next()? {
                '"' => {}
                other => return Err(SyntaxError::Unexpected(other, "looking for beginning of object key string")),
            }
            let key = Value::String(self.string()?);
            let key = Node { start, end: self.at, value: key };
            self.skip_space();
            match self.next()? {
                ':' => {}
                other => return Err(SyntaxError::Unexpected(other, "after object key")),
            }
            let value = self.value("looking for beginning of value")?;
            members.push((key, value));
            self.skip_space();
            match self.next()? {
                ',' => {}
                '}' => return Ok(Value::Object(members)),
                other => return Err(SyntaxError::Unexpected(other, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Result<Value, SyntaxError> {
        let mut elements = Vec::new();
        self.skip_space();
        if self.peek() == Some(']') {
            self.at += 1;
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value("looking for beginning of value")?);
            self.skip_space();
            match self.next()? {
                ',' => {}
                ']' => return Ok(Value::Array(elements)),
                other => return Err(SyntaxError::Unexpected(other, "after array element")),
            }
        }
    }

    fn literal(&mut self, literal: &'static str, value: Value) -> Result<Value, SyntaxError> {
        for expected in literal.chars().skip(1) {
            let found = self.next()?;
            if found != expected {
                return Err(SyntaxError::UnexpectedInLiteral(found, literal, expected));
            }
        }
        Ok(value)
    }

    fn number(&mut self, first: char, start: usize) -> Result<Value, SyntaxError> {
        let leading = if first == '-' { self.digit("in numeric literal")? } else { first };
        if leading != '0' {
            self.digits();
        }
        if self.peek() == Some('.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.at += 1;
            if matches!(self.peek(), Some('+' | '-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(Value::Number(self.text[start..self.at].to_owned()))
    }

    fn digit(&mut self, context: &'static str) -> Result<char, SyntaxError> {
        match self.next()? {
            digit @ '0'..='9' => Ok(digit),
            other => Err(SyntaxError::Unexpected(other, context)),
        }
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some('0'..='9')) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let mut out = String::new();
        loop {
            match self.next()? {
                '"' => return Ok(out),
                '\\' => out.push(self.escape()?),
                control if control < ' ' => return Err(SyntaxError::Unexpected(control, "in string literal")),
                other => out.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        Ok(match self.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            same @ ('"' | '\\' | '/') => same,
            'u' => self.unicode()?,
            other => return Err(SyntaxError::Unexpected(other, "in string escape code")),
        })
    }

    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let high = self.hex()?;
        if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with("\\u") {
            let mark = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let point = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = mark;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, SyntaxError> {
        let mut point = 0;
        for _ in 0..4 {
            let found = self.next()?;
            let digit =
                found.to_digit(16).ok_or(SyntaxError::Unexpected(found, "in \\u hexadecimal character escape"))?;
            point = point * 16 + digit;
        }
        Ok(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn errors_read_as_go_writes_them() {
        assert_eq!(error("hello"), "invalid character 'h' looking for beginning of value");
        assert_eq!(error("name=x"), "invalid character 'a' in literal null (expecting 'u')");
        assert_eq!(error("{\"name\": \"x\","), "unexpected EOF");
        assert_eq!(error("{1:2}"), "invalid character '1' looking for beginning of object key string");
        assert_eq!(error("[1 2]"), "invalid character '2' after array element");
    }

    #[test]
    fn what_follows_the_first_value_is_ignored() {
        let (node, _) = parse(" {} xyz").unwrap().unwrap();
        assert_eq!(node.value, Value::Object(Vec::new()));
        assert_eq!(parse(" \n"), Ok(None));
    }

    #[test]
    fn surrogate_pairs_become_one_character() {
        let (node, _) = parse(r#""\ud83d\ude00""#).unwrap().unwrap();
        assert_eq!(node.value, Value::String("\u{1f600}".to_owned()));
    }
}
