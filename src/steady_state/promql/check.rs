//! Expression → plan: the crate `promql-parser` knows the syntax; what is not built here is refused, with its place.

use std::time::Duration;

use promql_parser::label::{MatchOp, Matchers};
use promql_parser::parser::{
    self, AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, Offset, VectorMatchCardinality,
    VectorSelector,
};

use super::plan::{
    Aggregation, Arithmetic, Binary, Comparison, Function, Grouping, Matching, Operation, Plan,
    RangeFunction, Set, Side,
};
use super::tokens::{self, Kind, Token};
use super::{MAX_BYTES, MAX_DEPTH, MAX_WINDOW, Refusal};
use crate::steady_state::series::{Matcher, Selector};

/// What the parser says where it says nothing.
const SYNTAX: &str = "invalid promql query";

/// The longest number in a duration, in digits: the parser takes longer ones for nothing.
const MAX_DIGITS: usize = 9;

/// Reads an expression.
pub(super) fn read(text: &str) -> Result<Plan, Refusal> {
    if text.len() > MAX_BYTES {
        return Err(Refusal::new(
            text,
            0,
            format!("longer than {MAX_BYTES} bytes"),
            "divide it into several queries",
        ));
    }
    let tokens = tokens::tokens(text);
    let reader = Reader { text, tokens: &tokens };
    reader.guard()?;
    let expression = parser::parse(text).map_err(|message| reader.refused_by_parser(&message))?;
    reader.plan(&expression, 0)
}

struct Reader<'e> {
    text: &'e str,
    tokens: &'e [Token<'e>],
}

impl Reader<'_> {
    fn error(&self, at: usize, what: impl Into<String>, cure: impl Into<String>) -> Refusal {
        Refusal::new(self.text, at, what, cure)
    }

    /// Where the first word is that is `text`, before a bracket if `called`; the start if there is none.
    fn find(&self, text: &str, called: bool) -> usize {
        let mut pairs = self.tokens.iter().zip(self.tokens.iter().skip(1).map(Some).chain([None]));
        let found = pairs.find(|(token, next)| {
            let before = next.is_some_and(|next| {
                ["(", "by", "without"].contains(&next.text.to_ascii_lowercase().as_str())
            });
            token.kind != Kind::Text && token.text.eq_ignore_ascii_case(text) && (!called || before)
        });
        found.map_or(0, |(token, _)| token.start)
    }

    /// Where the first text is that holds `part`.
    fn find_text(&self, part: &str) -> usize {
        let mut texts = self.tokens.iter().filter(|token| token.kind == Kind::Text);
        texts.find(|token| token.text.contains(part)).map_or(0, |token| token.start)
    }

    /// What the parser must not get: it gives up on some, takes others for something else, or does not end well.
    fn guard(&self) -> Result<(), Refusal> {
        let (mut round, mut signs, mut in_range, mut after_offset) = (0_usize, 0_usize, false, false);
        for token in self.tokens {
            let is = |text: &str| token.kind != Kind::Text && token.text == text;
            let unary = is("-") || is("+");
            signs = if unary { signs + 1 } else { 0 };
            round = (round + usize::from(is("("))).saturating_sub(usize::from(is(")")));
            if round > MAX_DEPTH || signs > MAX_DEPTH {
                return Err(self.error(
                    token.start,
                    format!("nested deeper than {MAX_DEPTH}"),
                    "simplify it",
                ));
            }
            if is("@") {
                return Err(self.error(
                    token.start,
                    "the modifier @ is not supported",
                    "use offset: queries are about now",
                ));
            }
            if in_range && token.text.contains(':') {
                return Err(self.error(
                    token.start,
                    "subqueries are not supported",
                    "use a range of a metric, as x[1m]",
                ));
            }
            let duration = token.kind == Kind::Word && (in_range || after_offset);
            if duration && !is_duration(token.text) {
                let what = format!("`{}` is not a duration", token.text);
                return Err(self.error(token.start, what, "write it like 30s, 1m or 1h30m"));
            }
            in_range = is("[") || in_range && !is("]");
            after_offset = token.kind == Kind::Word && token.text.eq_ignore_ascii_case("offset")
                || after_offset && unary;
        }
        Ok(())
    }

    fn refused_by_parser(&self, message: &str) -> Refusal {
        if message == SYNTAX {
            let syntax = |text: &str| !matches!(parser::parse(text), Err(message) if message == SYNTAX || is_lexical(&message));
            let at = tokens::first_wrong(self.text, self.tokens, syntax);
            let what = match self.tokens.iter().find(|token| token.start == at) {
                Some(token) => format!("`{}` is not expected here", token.text),
                None => "something is missing at the end".to_owned(),
            };
            return self.error(at, what, "see prometheus.io/docs/prometheus/latest/querying/basics");
        }
        // Names are in quotes in the parser's messages.
        let quoted = message.split('\'').nth(1).unwrap_or_default();
        let at = match (quoted, message.strip_prefix("illegal regex for ")) {
            (_, Some(pattern)) => self.find_text(pattern),
            ("", _) if is_lexical(message) => self.text.len(),
            _ => self.find(quoted, false),
        };
        let cure = if message.starts_with("unknown function") {
            format!("there are {}", functions())
        } else {
            "see prometheus.io/docs/prometheus/latest/querying/basics".to_owned()
        };
        self.error(at, message, cure)
    }

    fn plan(&self, expression: &Expr, depth: usize) -> Result<Plan, Refusal> {
        if depth > MAX_DEPTH {
            return Err(self.error(
                0,
                format!("nested deeper than {MAX_DEPTH}"),
                "divide it into several queries",
            ));
        }
        match expression {
            Expr::NumberLiteral(number) => Ok(Plan::Number(number.val)),
            Expr::Paren(inner) => self.plan(&inner.expr, depth + 1),
            Expr::Unary(inner) => {
                Ok(Plan::Map { function: Function::Negate, of: Box::new(self.plan(&inner.expr, depth + 1)?) })
            }
            Expr::VectorSelector(selector) => {
                let (selector, offset) = self.selector(selector, Duration::ZERO)?;
                Ok(Plan::Select { selector, offset })
            }
            Expr::Call(call) => self.call(call, depth),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, depth),
            Expr::Binary(binary) => self.binary(binary, depth),
            Expr::MatrixSelector(_) => Err(self.error(
                self.find("[", false),
                "a range has no value at one moment",
                "put it into a function: rate(x[1m])",
            )),
            Expr::StringLiteral(_) => {
                let text = self.tokens.iter().find(|token| token.kind == Kind::Text);
                let at = text.map_or(0, |token| token.start);
                Err(self.error(at, "a text is no value", "write a number or a metric"))
            }
            Expr::Subquery(_) | Expr::Extension(_) => Err(self.error(
                self.find("[", false),
                "subqueries are not supported",
                "use a range of a metric, as x[1m]",
            )),
        }
    }

    fn boxed(&self, expression: &Expr, depth: usize) -> Result<Box<Plan>, Refusal> {
        Ok(Box::new(self.plan(expression, depth + 1)?))
    }

    /// A selector and how far its moment lies back, in milliseconds.
    fn selector(&self, selector: &VectorSelector, range: Duration) -> Result<(Selector, i64), Refusal> {
        let back = match &selector.offset {
            None => Duration::ZERO,
            Some(Offset::Pos(back)) => *back,
            Some(Offset::Neg(_)) => {
                let cure = "use a positive offset: there is nothing later than now";
                return Err(self.error(
                    self.find("offset", false),
                    "a negative offset is not supported",
                    cure,
                ));
            }
        };
        if range.saturating_add(back) > MAX_WINDOW {
            let too_long = |token: &&Token<'_>| {
                promql_parser::util::parse_duration(token.text)
                    .is_ok_and(|it| !it.is_zero() && (it == range || it == back))
            };
            let at = self.tokens.iter().find(too_long).map_or(0, |token| token.start);
            let what = format!("looks back further than {} minutes", MAX_WINDOW.as_secs() / 60);
            return Err(self.error(at, what, "use a shorter range or offset: values are kept in memory"));
        }
        let selector = Selector::new(selector.name.clone(), self.matchers(&selector.matchers)?);
        Ok((selector, millis(back)))
    }

    fn matchers(&self, matchers: &Matchers) -> Result<Vec<Matcher>, Refusal> {
        if !matchers.or_matchers.is_empty() {
            let cure = "use a pattern: a=~\"x|y\"";
            return Err(self.error(self.find("or", false), "`or` between braces is not supported", cure));
        }
        let compiled = matchers.matchers.iter().map(|matcher| {
            let (name, value) = (matcher.name.as_str(), matcher.value.as_str());
            match matcher.op {
                MatchOp::Equal => Ok(Matcher::is(name, value)),
                MatchOp::NotEqual => Ok(Matcher::is_not(name, value)),
                MatchOp::Re(_) => Matcher::matches(name, value),
                MatchOp::NotRe(_) => Matcher::matches_not(name, value),
            }
            .map_err(|why| {
                self.error(self.find_text(value), format!("the pattern cannot be used: {why}"), "simplify it")
            })
        });
        compiled.collect()
    }

    fn call(&self, call: &Call, depth: usize) -> Result<Plan, Refusal> {
        let name = call.func.name;
        let arguments: Vec<&Expr> = call.args.args.iter().map(AsRef::as_ref).collect();
        if let Some((_, function)) = Function::NAMES.iter().find(|(known, _)| *known == name)
            && let [of] = arguments.as_slice()
        {
            return Ok(Plan::Map { function: *function, of: self.boxed(of, depth)? });
        }
        if let Some((_, function)) = RangeFunction::NAMES.iter().find(|(known, _)| *known == name)
            && let [argument] = arguments.as_slice()
        {
            return self.range(*function, argument);
        }
        let plan = match (name, arguments.as_slice()) {
            ("time", []) => Plan::Time,
            ("scalar", [of]) => Plan::Scalar(self.boxed(of, depth)?),
            ("vector", [of]) => Plan::Vector(self.boxed(of, depth)?),
            ("histogram_quantile", [quantile, of]) => {
                Plan::Quantile { quantile: self.boxed(quantile, depth)?, of: self.boxed(of, depth)? }
            }
            ("clamp", [of, least, most]) => Plan::Clamp {
                of: self.boxed(of, depth)?,
                least: Some(self.boxed(least, depth)?),
                most: Some(self.boxed(most, depth)?),
            },
            ("clamp_min", [of, least]) => {
                Plan::Clamp { of: self.boxed(of, depth)?, least: Some(self.boxed(least, depth)?), most: None }
            }
            ("clamp_max", [of, most]) => {
                Plan::Clamp { of: self.boxed(of, depth)?, least: None, most: Some(self.boxed(most, depth)?) }
            }
            _ => {
                let what = format!("the function {name} is not supported");
                return Err(self.error(self.find(name, true), what, format!("there are {}", functions())));
            }
        };
        Ok(plan)
    }

    fn range(&self, function: RangeFunction, argument: &Expr) -> Result<Plan, Refusal> {
        let mut argument = argument;
        while let Expr::Paren(inner) = argument {
            argument = &inner.expr;
        }
        let Expr::MatrixSelector(matrix) = argument else {
            return Err(self.error(
                self.find("[", false),
                "subqueries are not supported",
                "use a range of a metric, as x[1m]",
            ));
        };
        let (selector, offset) = self.selector(&matrix.vs, matrix.range)?;
        Ok(Plan::Range { function, selector, range: millis(matrix.range), offset })
    }

    fn aggregate(&self, aggregate: &AggregateExpr, depth: usize) -> Result<Plan, Refusal> {
        let name = aggregate.op.to_string();
        let aggregation = match (name.as_str(), &aggregate.param) {
            ("sum", None) => Aggregation::Sum,
            ("avg", None) => Aggregation::Average,
            ("min", None) => Aggregation::Least,
            ("max", None) => Aggregation::Most,
            ("count", None) => Aggregation::Count,
            ("group", None) => Aggregation::Group,
            ("topk", Some(count)) => Aggregation::Top(self.boxed(count, depth)?),
            ("bottomk", Some(count)) => Aggregation::Bottom(self.boxed(count, depth)?),
            _ => {
                let what = format!("the aggregation {name} is not supported");
                let cure = "there are sum, avg, min, max, count, group, topk, bottomk";
                return Err(self.error(self.find(&name, true), what, cure));
            }
        };
        let grouping = match &aggregate.modifier {
            None => Grouping::By(Vec::new()),
            Some(labels) => grouping(labels),
        };
        Ok(Plan::Aggregate { aggregation, grouping, of: self.boxed(&aggregate.expr, depth)? })
    }

    fn binary(&self, binary: &BinaryExpr, depth: usize) -> Result<Plan, Refusal> {
        let modifier = binary.modifier.clone().unwrap_or_default();
        let sign = binary.op.to_string();
        let Some(operation) = operation(&sign, modifier.return_bool) else {
            let cure = "there are + - * / % ^ == != < <= > >= and or unless";
            return Err(self.error(self.find(&sign, false), format!("`{sign}` is not supported"), cure));
        };
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            let words = ["fill", "fill_left", "fill_right"];
            let at = words.iter().map(|word| self.find(word, true)).max().unwrap_or_default();
            return Err(self.error(at, "fill is not supported", "use `or` with a vector: (x or vector(0))"));
        }
        let (left, right) = (self.plan(&binary.lhs, depth + 1)?, self.plan(&binary.rhs, depth + 1)?);
        Ok(Plan::Binary(Box::new(Binary { left, right, operation, matching: matching(&modifier) })))
    }
}

fn matching(modifier: &BinModifier) -> Matching {
    let labels = modifier.matching.as_ref().map_or_else(|| Grouping::Without(Vec::new()), grouping);
    let many = match &modifier.card {
        VectorMatchCardinality::ManyToOne(included) => Some((Side::Left, included.labels.clone())),
        VectorMatchCardinality::OneToMany(included) => Some((Side::Right, included.labels.clone())),
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => None,
    };
    Matching { labels, many }
}

fn grouping(labels: &LabelModifier) -> Grouping {
    match labels {
        LabelModifier::Include(labels) => Grouping::By(labels.labels.clone()),
        LabelModifier::Exclude(labels) => Grouping::Without(labels.labels.clone()),
    }
}

fn operation(sign: &str, bool: bool) -> Option<Operation> {
    let arithmetic = |arithmetic| Some(Operation::Arithmetic(arithmetic));
    let comparison = |comparison| Some(Operation::Comparison { comparison, bool });
    match sign {
        "+" => arithmetic(Arithmetic::Add),
        "-" => arithmetic(Arithmetic::Subtract),
        "*" => arithmetic(Arithmetic::Multiply),
        "/" => arithmetic(Arithmetic::Divide),
        "%" => arithmetic(Arithmetic::Remainder),
        "^" => arithmetic(Arithmetic::Power),
        "==" => comparison(Comparison::Equal),
        "!=" => comparison(Comparison::NotEqual),
        "<" => comparison(Comparison::Less),
        "<=" => comparison(Comparison::LessOrEqual),
        ">" => comparison(Comparison::Greater),
        ">=" => comparison(Comparison::GreaterOrEqual),
        "and" => Some(Operation::Set(Set::And)),
        "or" => Some(Operation::Set(Set::Or)),
        "unless" => Some(Operation::Set(Set::Unless)),
        _ => None,
    }
}

/// All functions that there are.
fn functions() -> String {
    let known = RangeFunction::NAMES
        .iter()
        .map(|(name, _)| *name)
        .chain(Function::NAMES.iter().map(|(name, _)| *name));
    let others = ["clamp", "clamp_min", "clamp_max", "histogram_quantile", "scalar", "vector", "time"];
    known.chain(others).collect::<Vec<_>>().join(", ")
}

/// Whether the parser could not even tell the words of the text apart.
fn is_lexical(message: &str) -> bool {
    [
        "unexpected",
        "unclosed",
        "unterminated",
        "too many",
        "escape sequence",
        "unknown escape",
        "bad number",
        "'!' can not",
        "expect ",
    ]
    .iter()
    .any(|start| message.starts_with(start))
}

/// Whether it is `90`, `0.5` or `1h30m`, each number of it short.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return text.len() <= MAX_DIGITS && text.parse::<f64>().is_ok();
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits).unwrap_or_default();
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters).unwrap_or_default();
        if number.is_empty()
            || number.len() > MAX_DIGITS
            || !["y", "w", "d", "h", "m", "s", "ms"].contains(&unit)
        {
            return false;
        }
        rest = after;
    }
    !text.is_empty()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
