//! The contract as Rust: made from `wit/v1` by wit-bindgen, so that it cannot differ from it.

#[expect(missing_docs, reason = "wit-bindgen documents types, not the modules it puts them in")]
#[expect(clippy::same_length_and_capacity, reason = "the canonical ABI hands over blocks of exactly this length")]
mod generated {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        world: "operator",
        pub_export_macro: true,
        default_bindings_module: "$crate::export_support",
        export_macro_name: "export_operator",
        additional_derives: [PartialEq],
    });
}

pub use generated::*;
