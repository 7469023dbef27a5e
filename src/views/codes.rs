//! The schema of `code`, the part of a problem that programs decide by.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::error::Code;

/// The schema of a code.
pub(super) fn schema() -> Object {
    let meanings: String = Code::ALL.iter().map(|code| format!("- `{code}`: {}\n", code.meaning())).collect();
    let description = format!("Stable, for programs; new ones may come.\n\n{meanings}");
    let codes = Code::ALL.iter().map(|code| code.word());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes)).description(Some(description)).build()
}
