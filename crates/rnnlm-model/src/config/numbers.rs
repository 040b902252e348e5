//! Numbers of single precision in JSON.

use serde::Serializer;

/// Serializes a number of single precision in its shortest decimal form: as `0.004`, not as the double precision number
/// 0.004000000189989805 that has the same value. Reading the shortest form gives the same bits.
pub(crate) fn shortest<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    let shortest = value.to_string().parse::<f64>().ok().filter(|&shortest| shortest as f32 == *value);
    serializer.serialize_f64(shortest.unwrap_or(f64::from(*value)))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Number(#[serde(serialize_with = "shortest")] f32);

    #[test]
    fn numbers_are_short_and_keep_their_bits() {
        for (value, text) in [(0.004_f32, "0.004"), (1.0, "1.0"), (1e-8, "1e-8"), (0.0, "0.0"), (0.1, "0.1")] {
            assert_eq!(serde_json::to_string(&Number(value)).unwrap(), text);
            assert_eq!(serde_json::to_value(Number(value)).unwrap().to_string(), text);
            assert_eq!(serde_json::to_string(&value).unwrap(), text, "as weights files have stored it before");
        }
        // every 9973rd bit pattern of the finite numbers
        for bits in (0..0x7F80_0000_u32).step_by(9973) {
            let value = f32::from_bits(bits);
            let read: Number = serde_json::from_value(serde_json::to_value(Number(value)).unwrap()).unwrap();
            assert_eq!(read.0.to_bits(), bits);
        }
        assert_eq!(serde_json::to_value(Number(f32::NAN)).unwrap(), json!(null));
    }
}
