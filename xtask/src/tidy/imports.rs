//! The imports between the files of a crate: the edges of the graph for the rule against import cycles.
//!
//! A file imports from another if a `use` item or a path in its code refers to an item that the other file defines. `mod
//! child;` and re-exports of a child module's items do not count, because they only make a name available. Comments,
//! attributes and code for tests do not count either.

use std::collections::BTreeMap;

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Block, ImplItem, Item, ItemMod, ItemUse, Path, Stmt, TraitItem};

use super::items;
use super::modules::{Crate, ModuleId, Target};

/// From (importing file, imported file) to the line of the first such import.
pub(super) type Edges = BTreeMap<(String, String), usize>;

/// The edges between the files of `krate`.
pub(super) fn edges(krate: &mut Crate) -> Edges {
    // The visitor adds imports inside functions to the crate, so the syntax trees are taken out of it.
    let files = std::mem::take(&mut krate.files);
    let mut found = Vec::new();
    for file in &files {
        let mut visitor = Visitor { krate: &mut *krate, module: file.module, found: Vec::new() };
        file.items.iter().for_each(|item| visitor.visit_item(item));
        found.extend(visitor.found.into_iter().map(|(target, line)| (file.path.clone(), target, line)));
    }
    let mut edges = Edges::new();
    for (from, target, line) in found {
        let to = files[target].path.clone();
        if from != to {
            let first = edges.entry((from, to)).or_insert(line);
            *first = line.min(*first);
        }
    }
    krate.files = files;
    edges
}

/// Collects the files that one file's code refers to.
struct Visitor<'a> {
    krate: &'a mut Crate,
    /// The module that the visited code is in.
    module: ModuleId,
    /// Index of a file, and the line that refers to it.
    found: Vec<(usize, usize)>,
}

impl Visitor<'_> {
    fn add(&mut self, path: &[String], line: usize) {
        for target in self.krate.resolve(self.module, path) {
            if let Target::Item(file) = target {
                self.found.push((file, line));
            }
        }
    }

    /// Adds the paths in the arguments of a macro, which syn does not parse.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        // Whether the next identifier continues the path, and whether it is a field or method.
        let mut continues = false;
        let mut is_member = false;
        let mut previous: Option<TokenTree> = None;
        for token in tokens {
            match &token {
                TokenTree::Ident(ident) => {
                    if !continues {
                        self.finish(&mut path, line);
                        line = ident.span().start().line;
                    }
                    if !is_member {
                        let dollar = if is_punct(previous.as_ref(), '$') { "$" } else { "" };
                        path.push(format!("{dollar}{ident}"));
                    }
                    (continues, is_member) = (false, false);
                }
                TokenTree::Punct(punct) => {
                    let ends_separator = punct.as_char() == ':' && is_joint_colon(previous.as_ref());
                    // A path that begins with `::` belongs to another crate.
                    continues = ends_separator && !path.is_empty();
                    is_member = punct.as_char() == '.' && !is_punct(previous.as_ref(), '.')
                        || ends_separator && path.is_empty();
                    if punct.as_char() != ':' {
                        self.finish(&mut path, line);
                    }
                }
                TokenTree::Group(group) => {
                    self.finish(&mut path, line);
                    self.add_tokens(group.stream());
                    (continues, is_member) = (false, false);
                }
                TokenTree::Literal(_) => {
                    self.finish(&mut path, line);
                    (continues, is_member) = (false, false);
                }
            }
            previous = Some(token);
        }
        self.finish(&mut path, line);
    }

    fn finish(&mut self, path: &mut Vec<String>, line: usize) {
        if !path.is_empty() {
            self.add(path, line);
            path.clear();
        }
    }
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

fn is_joint_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint)
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    // `pub(in crate::module)` names a module only.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item(&mut self, item: &'ast Item) {
        if !items::is_test(items::attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes: &[syn::Attribute] = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => &[],
        };
        if !items::is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attributes: &[syn::Attribute] = match item {
            TraitItem::Const(item) => &item.attrs,
            TraitItem::Fn(item) => &item.attrs,
            TraitItem::Macro(item) => &item.attrs,
            TraitItem::Type(item) => &item.attrs,
            _ => &[],
        };
        if !items::is_test(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let Some((_, items)) = &item.content else { return };
        let outer = self.module;
        if let Some(inner) = self.krate.child(outer, &item.ident.to_string()) {
            self.module = inner;
            items.iter().for_each(|item| self.visit_item(item));
            self.module = outer;
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_reexport = items::is_reexport(&item.vis);
        for import in items::imports(item) {
            let found = self.found.len();
            if import.is_glob {
                self.add_glob(&import.path, import.line);
            } else {
                self.add(&import.path, import.line);
            }
            if is_reexport {
                let new = self.found.split_off(found);
                let from_elsewhere = new.into_iter().filter(|(file, _)| !self.krate.is_within(*file, self.module));
                self.found.extend(from_elsewhere);
            }
        }
    }

    // An import inside a function is treated as an import of the enclosing module.
    fn visit_block(&mut self, block: &'ast Block) {
        for statement in &block.stmts {
            if let Stmt::Item(Item::Use(item)) = statement
                && !items::is_test(&item.attrs)
            {
                for import in items::imports(item) {
                    self.krate.add_import(self.module, import);
                }
            }
        }
        visit::visit_block(self, block);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            let line = path.segments[0].ident.span().start().line;
            self.add(&names, line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.visit_path(&mac.path);
        self.add_tokens(mac.tokens.clone());
    }
}

impl Visitor<'_> {
    /// `use path::*` refers to the file that defines the enum, or to the module's file if it defines items itself.
    fn add_glob(&mut self, path: &[String], line: usize) {
        for target in self.krate.resolve(self.module, path) {
            match target {
                Target::Item(file) => self.found.push((file, line)),
                Target::Module(module) if self.krate.defines_items(module) => {
                    self.found.push((self.krate.modules[module].file, line));
                }
                Target::Module(_) => {}
            }
        }
    }
}
