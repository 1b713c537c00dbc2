/* What commands print: aligned columns, sizes and ages for people, JSON for programs. Thread: main. */
#ifndef ENTREPOT_CLI_PRINT_H
#define ENTREPOT_CLI_PRINT_H

#include <jansson.h>
#include <stdio.h>

#include "common/core/error.h"
#include "common/cli/command.h"

#define TABLE_COLUMNS_MAX 16

struct table {
    unsigned columns, right; /* right: a bit for each column that is aligned right */
    char **cells;
    size_t n;
};

void table_init(struct table *t, unsigned columns, unsigned right);
/* The next cell, row by row. Text from elsewhere may hold anything: control characters are shown as '?'. */
void table_cell(struct table *t, const char *text);
void table_cellf(struct table *t, const char *fmt, ...) printf_like(2, 3);
void table_print(const struct table *t, FILE *out);
void table_fini(struct table *t);

/* "1.5 GiB", "12 B". Returns out. */
#define SIZE_TEXT_MAX 32
char *size_text(int64_t bytes, char out[SIZE_TEXT_MAX]);
/* "1 blob", "2 blobs" of n and "blob". Returns out. */
char *count_text(int64_t n, const char *noun, char out[SIZE_TEXT_MAX]);
/* "3 d 4 h", "12 s". Returns out. */
char *time_text(int64_t seconds, char out[SIZE_TEXT_MAX]);

/* Prints doc and a line feed to standard output; takes doc. EXIT_DONE, or EXIT_FAILED if it could not be written. */
int print_json(json_t *doc);
/* Prints err under the program's name; EXIT_FAILED. */
int print_failure(const struct command_context *ctx, const struct error *err);
/* Prints "usage: PROGRAM NAME USAGE" after what is wrong; EXIT_USAGE. */
int print_usage(const struct command_context *ctx, const char *fmt, ...) printf_like(2, 3);

#endif
