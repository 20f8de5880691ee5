//! `now()` and `to_datetime`: points in time, and what lies between them, as Python's `datetime` has them.

use std::fmt;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Value, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_function("now", now);
    env.add_filter("to_datetime", to_datetime);
    env.add_filter("__sub", minus);
}

fn fail(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// `now(utc=false, fmt=none)`.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn now(utc: Option<bool>, fmt: Option<String>, kwargs: Kwargs) -> Result<Value, Error> {
    let utc = kwargs.get::<Option<bool>>("utc")?.or(utc).unwrap_or(false);
    let fmt = kwargs.get::<Option<String>>("fmt")?.or(fmt);
    kwargs.assert_all_used()?;
    let zone = if utc {
        TimeZone::UTC
    } else {
        TimeZone::system()
    };
    let moment = Moment(Timestamp::now().to_zoned(zone).datetime());
    match fmt {
        Some(fmt) if !fmt.is_empty() => moment.formatted(&fmt),
        _ => Ok(Value::from_object(moment)),
    }
}

/// A point in time where layerplay runs.
pub(super) fn local(time: std::time::SystemTime) -> Value {
    let moment = Timestamp::try_from(time).map(|time| time.to_zoned(TimeZone::system()).datetime());
    moment.map_or_else(
        |_| Value::from(()),
        |moment| Value::from_object(Moment(moment)),
    )
}

/// `'2024-01-02 03:04:05' | to_datetime`, or by another format.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn to_datetime(text: &str, format: Option<String>, kwargs: Kwargs) -> Result<Value, Error> {
    let format = kwargs
        .get::<Option<String>>("format")?
        .or(format)
        .unwrap_or_else(|| "%Y-%m-%d %H:%M:%S".to_owned());
    kwargs.assert_all_used()?;
    let wrong = || {
        fail(format!(
            "time data '{text}' does not match format '{format}'"
        ))
    };
    let parsed = jiff::fmt::strtime::parse(&format, text).map_err(|_| wrong())?;
    let date = parsed.to_date().map_err(|_| wrong())?;
    let time = parsed.to_time().unwrap_or_default();
    Ok(Value::from_object(Moment(date.to_datetime(time))))
}

/// A point in time without a zone.
struct Moment(DateTime);

impl Moment {
    fn zoned(&self) -> Result<Zoned, Error> {
        self.0
            .to_zoned(TimeZone::system())
            .map_err(|problem| fail(problem.to_string()))
    }

    fn formatted(&self, format: &str) -> Result<Value, Error> {
        // `%f` of Python has six digits.
        let format = format.replace("%f", "%6f");
        jiff::fmt::strtime::format(&format, self.0)
            .map(Value::from)
            .map_err(|problem| fail(format!("`{format}` is no format of time: {problem}")))
    }

    fn iso(&self, between: char) -> String {
        let micro = self.0.subsec_nanosecond() / 1000;
        let base = self
            .0
            .strftime(&format!("%Y-%m-%d{between}%H:%M:%S"))
            .to_string();
        if micro == 0 {
            base
        } else {
            format!("{base}.{micro:06}")
        }
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso(' '))
    }
}

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = self.0;
        Some(match key.as_str()? {
            "year" => Value::from(at.year()),
            "month" => Value::from(at.month()),
            "day" => Value::from(at.day()),
            "hour" => Value::from(at.hour()),
            "minute" => Value::from(at.minute()),
            "second" => Value::from(at.second()),
            "microsecond" => Value::from(at.subsec_nanosecond() / 1000),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let date = self.0.date();
        match method {
            "strftime" => {
                let (format,): (String,) = from_args(args)?;
                self.formatted(&format)
            }
            "isoformat" => {
                let (sign,): (Option<String>,) = from_args(args)?;
                let sign = sign.and_then(|sign| sign.chars().next());
                Ok(Value::from(self.iso(sign.unwrap_or('T'))))
            }
            "timestamp" => {
                let micro = self.zoned()?.timestamp().as_microsecond();
                #[allow(clippy::cast_precision_loss, reason = "Python's is a float too")]
                let seconds = micro as f64 / 1e6;
                Ok(Value::from(seconds))
            }
            "weekday" => Ok(Value::from(date.weekday().to_monday_zero_offset())),
            "isoweekday" => Ok(Value::from(date.weekday().to_monday_one_offset())),
            "date" => Ok(Value::from(date.to_string())),
            "time" => Ok(Value::from(self.0.time().to_string())),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso(' '))
    }

    fn custom_cmp(
        self: &Arc<Self>,
        other: &minijinja::value::DynObject,
    ) -> Option<std::cmp::Ordering> {
        Some(self.0.cmp(&other.downcast_ref::<Self>()?.0))
    }
}

/// Python's name of what is made here.
pub(super) fn type_name(value: &Value) -> Option<&'static str> {
    if value.downcast_object_ref::<Moment>().is_some() {
        Some("datetime")
    } else {
        value.downcast_object_ref::<Span>().map(|_| "timedelta")
    }
}

/// What lies between two points, in microseconds.
struct Span(i64);

impl Span {
    fn parts(&self) -> (i64, i64, i64) {
        let seconds = self.0.div_euclid(1_000_000);
        let micro = self.0.rem_euclid(1_000_000);
        (
            seconds.div_euclid(86_400),
            seconds.rem_euclid(86_400),
            micro,
        )
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds, micro) = self.parts();
        if days != 0 {
            let s = if days.abs() == 1 { "" } else { "s" };
            write!(f, "{days} day{s}, ")?;
        }
        write!(
            f,
            "{}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        if micro != 0 {
            write!(f, ".{micro:06}")?;
        }
        Ok(())
    }
}

impl Object for Span {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let (days, seconds, micro) = self.parts();
        Some(match key.as_str()? {
            "days" => Value::from(days),
            "seconds" => Value::from(seconds),
            "microseconds" => Value::from(micro),
            _ => return None,
        })
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        _: &[Value],
    ) -> Result<Value, Error> {
        if method != "total_seconds" {
            return Err(Error::from(ErrorKind::UnknownMethod));
        }
        #[allow(clippy::cast_precision_loss, reason = "Python's is a float too")]
        let seconds = self.0 as f64 / 1e6;
        Ok(Value::from(seconds))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }

    fn custom_cmp(
        self: &Arc<Self>,
        other: &minijinja::value::DynObject,
    ) -> Option<std::cmp::Ordering> {
        Some(self.0.cmp(&other.downcast_ref::<Self>()?.0))
    }
}

/// The time between two points; everything else is the engine's own.
fn minus(a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(a), Some(b)) = (
        a.downcast_object_ref::<Moment>(),
        b.downcast_object_ref::<Moment>(),
    ) {
        let between = a.0.duration_since(b.0).as_micros();
        return i64::try_from(between)
            .map(|micro| Value::from_object(Span(micro)))
            .map_err(|_| fail("the points are too far from each other"));
    }
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64())
        && let Some(difference) = a.checked_sub(b)
    {
        return Ok(Value::from(difference));
    }
    if a.is_undefined() || b.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    super::dialect::environment()
        .compile_expression("a - b")?
        .eval(Value::from_pairs([("a", a.clone()), ("b", b.clone())]))
}
