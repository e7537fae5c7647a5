//! A reader of what `/metrics` answers, which is strict about the OpenMetrics format, and of the tables in docs/metrics.md.

use std::collections::{BTreeMap, BTreeSet};

use devkit::host::http_get;

/// The counter of calls to ZITADEL.
pub const CALLS: &str = "zitadel_api_requests_total";

/// What an operator exposes now.
pub async fn scrape(port: u16) -> Exposition {
    let (status, text) = http_get(port, "/metrics").await.expect("the operator answers");
    assert_eq!(status, 200);
    Exposition::read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name with its suffix.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    /// Labels of the exemplar, where there is one.
    pub exemplar: BTreeMap<String, String>,
}

/// What a scrape showed.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Families, under the names that Prometheus stores (of histograms the bare one), with their types.
    pub types: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

/// What is said of a metric: its type and the names of its labels.
pub type Told = BTreeMap<String, (String, BTreeSet<String>)>;

impl Exposition {
    /// Reads a text.
    ///
    /// # Errors
    /// The first thing that the format does not allow.
    pub fn read(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("the text does not end with # EOF")?;
        let mut all = Self::default();
        let mut family: Option<(String, String)> = None;
        for line in body.lines() {
            if let Some(told) = line.strip_prefix("# ") {
                let (word, rest) = told.split_once(' ').ok_or_else(|| format!("no metadata: {line}"))?;
                let (name, value) = rest.split_once(' ').ok_or_else(|| format!("no metadata: {line}"))?;
                match word {
                    "HELP" => family = None,
                    "TYPE" => family = Some((name.to_owned(), value.to_owned())),
                    "UNIT" if name.ends_with(&format!("_{value}")) => {}
                    _ => return Err(format!("metadata of no kind: {line}")),
                }
                if word == "TYPE" && all.types.insert(stored(name, value)?, value.to_owned()).is_some() {
                    return Err(format!("{name} is there twice, or its samples are interrupted"));
                }
                continue;
            }
            let sample = sample(line)?;
            let (name, kind) = family.as_ref().ok_or_else(|| format!("a sample of no family: {line}"))?;
            if !suffixes(kind)?.iter().any(|suffix| sample.name == format!("{name}{suffix}")) {
                return Err(format!("{line} is no sample of the {kind} {name}"));
            }
            if (kind == "counter" || kind == "histogram") && (sample.value < 0.0 || sample.value.is_nan()) {
                return Err(format!("a count below nothing: {line}"));
            }
            all.samples.push(sample);
        }
        all.no_series_twice()?;
        all.buckets_grow()?;
        Ok(all)
    }

    fn no_series_twice(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let twice = self.samples.iter().find(|sample| !seen.insert((&sample.name, &sample.labels)));
        twice.map_or(Ok(()), |sample| Err(format!("a series is there twice: {sample:?}")))
    }

    /// Buckets are sorted, never shrink, and end with the count.
    fn buckets_grow(&self) -> Result<(), String> {
        let mut series: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        for bucket in self.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
            let mut labels = bucket.labels.clone();
            let bound = labels.remove("le").ok_or_else(|| format!("a bucket without a bound: {bucket:?}"))?;
            let bound = number(&bound)?;
            let name = bucket.name.trim_end_matches("_bucket").to_owned();
            series.entry((name, labels)).or_default().push((bound, bucket.value));
        }
        for ((name, labels), buckets) in series {
            let grow = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            let last = buckets.last().copied().unwrap_or_default();
            let count = self.samples.iter().find(|one| one.name == format!("{name}_count") && one.labels == labels);
            if !grow || last.0 < f64::INFINITY || count.is_none_or(|count| differ(count.value, last.1)) {
                return Err(format!("the buckets of {name} {labels:?} are wrong: {buckets:?}"));
            }
        }
        Ok(())
    }

    /// The sum of the samples with this name and these labels, and perhaps others.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map(|sample| sample.value).sum()
    }

    /// The samples with this name and these labels, and perhaps others.
    pub fn find<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        let fits =
            |sample: &&Sample| labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value));
        self.samples.iter().filter(move |sample| sample.name == name).filter(fits)
    }

    /// Type and labels of each family that has samples.
    pub fn told(&self) -> Told {
        let mut told = Told::new();
        for (name, kind) in &self.types {
            let own = |sample: &&Sample| match kind.as_str() {
                "histogram" => sample.name == format!("{name}_count"),
                _ => sample.name == *name,
            };
            for sample in self.samples.iter().filter(own) {
                let entry = told.entry(name.clone()).or_insert_with(|| (kind.clone(), BTreeSet::new()));
                entry.1.extend(sample.labels.keys().cloned());
            }
        }
        told
    }
}

/// The name that Prometheus stores of a family, which the documentation uses.
fn stored(name: &str, kind: &str) -> Result<String, String> {
    let suffix = suffixes(kind)?[0];
    Ok(format!("{name}{}", if kind == "histogram" { "" } else { suffix }))
}

fn suffixes(kind: &str) -> Result<&'static [&'static str], String> {
    match kind {
        "counter" => Ok(&["_total", "_created"]),
        "gauge" => Ok(&[""]),
        "info" => Ok(&["_info"]),
        "histogram" => Ok(&["_bucket", "_count", "_sum", "_created"]),
        _ => Err(format!("no type that is used here: {kind}")),
    }
}

fn sample(line: &str) -> Result<Sample, String> {
    let wrong = || format!("no sample: {line}");
    let (sample, exemplar) = match line.split_once(" # ") {
        None => (line, BTreeMap::new()),
        Some((sample, told)) => (sample, exemplar(told).filter(|_| sample.contains("_bucket{")).ok_or_else(wrong)?),
    };
    let (series, value) = sample.rsplit_once(' ').ok_or_else(wrong)?;
    let (name, labels) = match series.split_once('{') {
        None => (series, BTreeMap::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').ok_or_else(wrong)?).ok_or_else(wrong)?),
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(valid) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(wrong());
    }
    Ok(Sample { name: name.to_owned(), labels, value: number(value)?, exemplar })
}

/// The labels of an exemplar, which has a value and perhaps a time. All of them are 128 characters at most.
fn exemplar(text: &str) -> Option<BTreeMap<String, String>> {
    let (inner, rest) = text.strip_prefix('{')?.split_once("} ")?;
    let numbers = rest.split(' ').map(number).collect::<Result<Vec<_>, _>>().ok()?;
    let found = labels(inner)?;
    let length: usize = found.iter().map(|(name, value)| name.len() + value.len()).sum();
    (numbers.len() <= 2 && length <= 128).then_some(found)
}

fn labels(text: &str) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    plain @ ('\\' | '"') => plain,
                    _ => return None,
                }),
                (_, plain) => value.push(plain),
            }
        };
        let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid || found.insert(name.to_owned(), value).is_some() {
            return None;
        }
        rest = &quoted[end + 1..];
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').filter(|rest| !rest.is_empty())?;
        }
    }
    Some(found)
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("no number: {text}"))
}

fn differ(a: f64, b: f64) -> bool {
    (a - b).abs() > f64::EPSILON
}

/// What the tables of docs/metrics.md say.
pub fn documented(text: &str) -> Told {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(cells);
    rows.map(|row| {
        let words = row[2].split(',').map(|word| word.trim().trim_matches('`').to_owned());
        let labels = words.filter(|word| !word.is_empty()).collect();
        (row[0].trim_matches('`').to_owned(), (row[1].clone(), labels))
    })
    .collect()
}

#[test]
fn what_the_format_forbids_is_noticed() {
    let exemplar = Exposition::read(
        "# TYPE h histogram\nh_sum 1\nh_count 1\nh_bucket{le=\"+Inf\"} 1 # {t=\"a b\"} 0.5 1.25\n# EOF\n",
    );
    assert_eq!(exemplar.unwrap().samples[2].exemplar["t"], "a b");
    let good = "# HELP a A.\n# TYPE a counter\na_total{b=\"c\\\"\\n,}\"} 1\n# HELP h H.\n# TYPE h histogram\nh_sum 1\nh_count 1\n\
                h_bucket{le=\"1.0\"} 0\nh_bucket{le=\"+Inf\"} 1\n# EOF\n";
    let read = Exposition::read(good).unwrap();
    assert_eq!(read.samples[0].labels["b"], "c\"\n,}");
    assert_eq!(read.types.keys().collect::<Vec<_>>(), ["a_total", "h"]);
    for (from, to) in [
        ("# EOF\n", ""),
        ("# EOF\n", "# EOF\nx 1\n"),
        ("a_total{", "a{"),
        ("a_total{", "0a_total{"),
        ("} 1\n#", "} x\n#"),
        ("} 1\n#", "} -1\n#"),
        ("counter", "thing"),
        ("b=", "b-c="),
        ("b=\"c\\\"", "b=\"c\""),
        ("h_sum 1\n", "h_sum 1\nh_sum 1\n"),
        ("h_sum 1\n", "h_sum 1 # {t=\"a\"} 1\n"),
        ("le=\"1.0\"} 0", "le=\"1.0\"} 0 # {t=\"a\"}"),
        ("le=\"1.0\"} 0", "le=\"1.0\"} 0 # {t=\"a\"} x"),
        ("le=\"+Inf\"} 1", "le=\"+Inf\"} 2"),
        ("le=\"+Inf\"} 1", "le=\"2.0\"} 1"),
        ("le=\"1.0\"} 0", "le=\"1.0\"} 2"),
        ("# HELP h H.\n# TYPE h histogram\n", ""),
        ("# HELP h H.\n# TYPE h histogram\n", "# HELP h H.\n# TYPE h histogram\n# UNIT h seconds\n"),
        ("# HELP h H.\n", "# HELP a A.\n# TYPE a counter\n"),
    ] {
        assert!(good.contains(from));
        assert!(Exposition::read(&good.replacen(from, to, 1)).is_err(), "{from:?} -> {to:?}");
    }
}
