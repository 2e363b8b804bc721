//! Which file of a crate names items of which other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

use crate::run::Outcome;
use crate::sources::{below, name, read};

/// What each names, with one of the names.
pub type Edges = BTreeMap<String, BTreeMap<String, String>>;

/// A module's path from the crate's root, or an item's.
type Names = Vec<String>;

/// The modules of a crate, and what each of them names.
pub struct Graph {
    modules: BTreeMap<Names, Module>,
}

/// A module: one of a file's, as files may hold several.
#[derive(Default)]
struct Module {
    file: String,
    items: BTreeSet<String>,
    /// What `use` brings: the name here, and the whole path.
    aliases: BTreeMap<String, Names>,
    globs: Vec<Names>,
    /// Whole paths of what the module's code names.
    used: BTreeSet<Names>,
    /// What the code names without a path, by its first segment.
    plain: BTreeSet<String>,
}

impl Graph {
    /// Reads every source below a folder, except tests.
    pub fn read(src: &Path) -> Outcome<Self> {
        let mut texts = Vec::new();
        for path in below(src, "rs")? {
            texts.push((name(&path, src), read(&path)?));
        }
        let texts: Vec<_> = texts
            .iter()
            .map(|(file, text)| (&**file, &**text))
            .collect();
        Self::of_texts(&texts)
    }

    /// The same of names and contents.
    pub fn of_texts(texts: &[(&str, &str)]) -> Outcome<Self> {
        let mut files = Vec::new();
        for (file, text) in texts {
            let parsed = syn::parse_file(text).map_err(|error| format!("{file}: {error}"))?;
            files.push((module_of(Path::new(file)), (*file).to_owned(), parsed));
        }
        let known = files.iter().map(|(module, ..)| module.clone()).collect();
        Ok(Self::of(files, &known))
    }

    fn of(files: Vec<(Names, String, syn::File)>, known: &BTreeSet<Names>) -> Self {
        let mut reader = Reader {
            known,
            at: Names::new(),
            file: String::new(),
            modules: BTreeMap::new(),
            tests: Vec::new(),
        };
        for (module, name, file) in files {
            reader.at = module;
            reader.file = name;
            reader.module();
            reader.visit_file(&file);
        }
        let Reader {
            mut modules, tests, ..
        } = reader;
        modules.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Self { modules }
    }

    /// Which file names items of which.
    pub fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for module in self.modules.values() {
            let from = edges.entry(module.file.clone()).or_default();
            let plain = module
                .plain
                .iter()
                .filter_map(|name| module.aliases.get(name));
            for used in module.used.iter().chain(plain) {
                if let Some(to) = self.file_of(used, 8).filter(|to| *to != module.file) {
                    from.insert(to.to_owned(), used.join("::"));
                }
            }
        }
        edges
    }

    /// Which room names items of which.
    pub fn rooms(&self) -> Edges {
        let mut rooms = Edges::new();
        for (from, names) in self.edges() {
            for (to, name) in names {
                if room(&from) != room(&to) && room(&from) != "lib" && room(&from) != "main" {
                    let names = rooms.entry(room(&from).to_owned()).or_default();
                    names.insert(room(&to).to_owned(), format!("{from}: {name}"));
                }
            }
        }
        rooms
    }

    /// The file that defines an item.
    fn file_of(&self, path: &[String], depth: u32) -> Option<&str> {
        let depth = depth.checked_sub(1)?;
        let length = (0..=path.len())
            .rev()
            .find(|length| self.modules.contains_key(&path[..*length]))?;
        let module = &self.modules[&path[..length]];
        let Some(item) = path.get(length) else {
            return Some(&module.file);
        };
        if let Some(alias) = module.aliases.get(item) {
            let whole = [alias.as_slice(), &path[length + 1..]].concat();
            return self.file_of(&whole, depth);
        }
        let behind_glob = || {
            module.globs.iter().find_map(|glob| {
                let holds = self.modules.get(glob)?.items.contains(item);
                holds.then(|| self.file_of(glob, depth))?
            })
        };
        if module.items.contains(item) {
            Some(&module.file)
        } else {
            behind_glob().or(Some(&module.file))
        }
    }
}

/// The room of a file: the first folder, or the file itself where it has none.
fn room(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The module that a file is: `a/b.rs` and `a/b/mod.rs` are both `a::b`.
fn module_of(file: &Path) -> Names {
    let whole = file.with_extension("");
    let mut names: Names = whole
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let last = names.last().map(String::as_str);
    if matches!(last, Some("mod" | "lib" | "main")) {
        names.pop();
    }
    names
}

/// Reads one file after the other.
struct Reader<'a> {
    known: &'a BTreeSet<Names>,
    at: Names,
    file: String,
    modules: BTreeMap<Names, Module>,
    tests: Vec<Names>,
}

impl Reader<'_> {
    fn module(&mut self) -> &mut Module {
        let file = &self.file;
        let module = self.modules.entry(self.at.clone()).or_default();
        module.file.clone_from(file);
        module
    }

    /// Adds what code names, if it is of this crate.
    fn uses(&mut self, path: &[String]) {
        match self.absolute(path) {
            Some(whole) => _ = self.module().used.insert(whole),
            None => {
                _ = path
                    .first()
                    .map(|name| self.module().plain.insert(name.clone()))
            }
        }
    }

    fn absolute(&self, path: &[String]) -> Option<Names> {
        let mut from = self.at.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => {
                from.clear();
                rest = &rest[1..];
            }
            "self" if path.len() > 1 => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    from.pop()?;
                    rest = &rest[1..];
                }
            }
            child => {
                let child = [from.as_slice(), &[child.to_owned()]].concat();
                if !self.known.contains(&child) {
                    return None;
                }
            }
        }
        from.extend_from_slice(rest);
        Some(from)
    }

    fn tree(&mut self, tree: &UseTree, before: &[String], public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident), public),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, before, public);
                }
            }
            UseTree::Glob(_) => {
                if let Some(whole) = self.absolute(before) {
                    self.module().globs.push(whole.clone());
                    if !public {
                        self.module().used.insert(whole);
                    }
                }
            }
            UseTree::Name(name) if name.ident == "self" => {
                if let Some(last) = before.last() {
                    self.alias(last.clone(), before, public);
                }
            }
            UseTree::Name(name) => self.alias(name.ident.to_string(), &with(&name.ident), public),
            UseTree::Rename(name) => {
                self.alias(name.rename.to_string(), &with(&name.ident), public)
            }
        }
    }

    fn alias(&mut self, name: String, path: &[String], public: bool) {
        if let Some(whole) = self.absolute(path) {
            let module = self.module();
            if !public {
                module.used.insert(whole.clone());
            }
            module.aliases.insert(name, whole);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let Some((attributes, name)) = named(item) else {
            return visit::visit_item(self, item);
        };
        if is_test(attributes) {
            if let Item::Mod(_) = item {
                let test = [self.at.as_slice(), &[name]].concat();
                self.tests.push(test);
            }
            return;
        }
        if !matches!(item, Item::Mod(_)) {
            self.module().items.insert(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.content.is_some() {
            self.at.push(item.ident.to_string());
            self.module();
            visit::visit_item_mod(self, item);
            self.at.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        if !is_test(&item.attrs) {
            self.tree(&item.tree, &[], public);
        }
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.uses(&names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        // Tokens, not syntax: `a :: b` is a path wherever it occurs.
        let text = item.tokens.to_string().replace(" :: ", "::");
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
            let names: Names = word.split("::").map(str::to_owned).collect();
            if names.iter().all(|name| !name.is_empty()) {
                self.uses(&names);
            }
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

/// Attributes and name of an item that has one.
fn named(item: &Item) -> Option<(&[Attribute], String)> {
    let (attributes, name) = match item {
        Item::Const(item) => (&item.attrs, &item.ident),
        Item::Enum(item) => (&item.attrs, &item.ident),
        Item::Fn(item) => (&item.attrs, &item.sig.ident),
        Item::Mod(item) => (&item.attrs, &item.ident),
        Item::Static(item) => (&item.attrs, &item.ident),
        Item::Struct(item) => (&item.attrs, &item.ident),
        Item::Trait(item) => (&item.attrs, &item.ident),
        Item::Type(item) => (&item.attrs, &item.ident),
        Item::Union(item) => (&item.attrs, &item.ident),
        _ => return None,
    };
    Some((attributes, name.to_string()))
}
