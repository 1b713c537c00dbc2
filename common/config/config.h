/* Configuration from one table. Each node has an array of struct config_key; parsing, --set, --check, the example file
 * and docs/configuration.md are made from it. Thread: main, before others start; a loaded configuration is
 * immutable. */
#ifndef ENTREPOT_CONFIG_CONFIG_H
#define ENTREPOT_CONFIG_CONFIG_H

#include "common/core/buf.h"
#include "common/core/error.h"
#include "common/config/node_config.h"

enum config_type {
    CONFIG_STRING,    /* char *; NULL when absent without default */
    CONFIG_PATH,      /* char *: an absolute path */
    CONFIG_FILE,      /* char *: an absolute path of a file that `serve --check` expects to be readable */
    CONFIG_STRINGS,   /* char **, with its size_t at count_at */
    CONFIG_SIZE,      /* int64_t bytes */
    CONFIG_DURATION,  /* int64_t milliseconds */
    CONFIG_RATE,      /* int64_t bytes per second */
    CONFIG_FREQUENCY, /* unsigned per second, within min..max */
    CONFIG_BOOL,      /* bool */
    CONFIG_INT,       /* unsigned, within min..max */
    CONFIG_WORD,      /* enum: the index in words */
    CONFIG_GROUP,     /* a mapping whose keys' offsets count from the same struct */
    CONFIG_ITEMS,     /* a list of mappings: an array of structs, with its size_t at count_at */
};

struct config_schema {
    const struct config_key *keys;
    size_t n;
};
#define CONFIG_SCHEMA(array) \
    { .keys = (array), .n = ARRAY_LEN(array) }

struct config_key {
    const char *name;
    enum config_type type;
    size_t at;                         /* offset of the field */
    size_t count_at;                   /* STRINGS, ITEMS: offset of the size_t count */
    const char *fallback;              /* the default as YAML; NULL: absent */
    const char *shown;                 /* text for the default if it is determined at run time */
    const char *example;               /* YAML, for keys without a default */
    const char *doc;                   /* one or more full sentences */
    int64_t min, max;                  /* INT, and SIZE, DURATION, RATE if max is not 0 */
    const char *const *words;          /* WORD: NULL-ended */
    const struct config_schema *inner; /* GROUP, ITEMS */
    size_t item_size;                  /* ITEMS: size of the struct */
    const char *item_name;             /* ITEMS: the key that names an item in --set: "name" */
    bool required;                     /* within ITEMS: must be given */
    bool no_effect; /* accepted and checked, but not used yet; it has no field (at and count_at are not used) */
    /* Checks a STRING and each of STRINGS: 0, or an error in err without place. NULL: any value is valid. */
    int (*check)(const char *value, struct error *err);
};

/* What to load. Strings are borrowed for the call. */
struct config_source {
    const char *file; /* --config, or NULL: the default file, which may be absent */
    const char *default_file;
    const char *const *sets; /* --set arguments, later ones win */
    size_t n_sets;
    /* NULL: reading ends at the first error. Else it is called for every error, and the err of config_load is the
     * first. */
    void (*each)(const struct error *err, void *arg);
    void *arg;
};

struct config_load;
/* Loads a source into *target, which is the start of the node's own struct and zeroed by the caller. Fills config_file
 * and no_effect in it, and calls check (may be NULL) for rules about several keys. On failure target's fields are
 * already freed. Errors say "FILE:LINE:COLUMN: KEY: …" or "--set ARGUMENT: …". */
int config_load(const struct config_schema *schema, const struct config_source *src, struct node_config *target,
                int (*check)(struct config_load *load, struct node_config *target, struct error *err),
                struct error *err) must_check;
/* For use in check. If all errors are wanted, reports *err, clears it and returns 0; else returns its code. */
int config_load_wrong(struct config_load *load, struct error *err) must_check;
/* For use in check: fills err with an error about the key at path ("upstreams[2].name"), with its place if it was
 * given. Returns ERR_INVALID. */
int config_load_error(const struct config_load *load, const char *path, struct error *err, const char *fmt, ...)
    printf_like(4, 5);
/* Copies every field of the schema from *from to *to, both of size bytes, which start with the node's own part. What
 * config_load found out beside the schema is not copied. config_free frees the copy. */
void config_copy(const struct config_schema *schema, struct node_config *to, const struct node_config *from,
                 size_t size);
/* Frees every field of the schema, and what config_load put into node. */
void config_free(const struct config_schema *schema, struct node_config *target);

/* Opens every CONFIG_FILE of a loaded configuration and reports those that cannot be read to each. Returns their
 * number. */
size_t config_check_files(const struct node_config *target, void (*each)(const struct error *err, void *arg),
                          void *arg);
/* Logs a warning for each key that was set but has no effect. */
void config_warn_no_effect(const struct node_config *node);

/* Writes the reference of a schema as Markdown. program: "entrepot-central"; file: its default file. */
int config_docs_markdown(const struct config_schema *schema, const char *program, const char *file,
                         struct buf *out) must_check;
/* Writes the introduction of docs/configuration.md. */
int config_docs_intro(struct buf *out) must_check;
/* Writes an example file: every key with its comment and default, commented out by one '#'. Without the first '#' of
 * every line it is a file in which every key is set. */
int config_docs_example(const struct config_schema *schema, const char *program, const char *file,
                        struct buf *out) must_check;

/* Functions for config_key.check. ERR_INVALID, with err filled. */
int config_check_listen(const char *value, struct error *err);    /* HOST:PORT, [V6]:PORT, :PORT */
int config_check_network(const char *value, struct error *err);   /* ADDRESS/BITS */
int config_check_host(const char *value, struct error *err);      /* a host or address without port */
int config_check_host_port(const char *value, struct error *err); /* HOST or HOST:PORT */
int config_check_url(const char *value,
                     struct error *err); /* http(s)://HOST[:PORT][/PATH] without credentials, query, fragment */
/* True if both cannot be listened on at once. Port 0 is any free port. */
bool config_listen_clash(const char *a, const char *b);

/* The default data folder of a node ("central", "edge"): $STATE_DIRECTORY (given by systemd), for root
 * /var/lib/entrepot/NODE, else $XDG_DATA_HOME/entrepot/NODE or ~/.local/share/entrepot/NODE. The caller frees. */
int config_default_data(const char *node, char **out, struct error *err) must_check;

#endif
