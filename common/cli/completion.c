/* Completion for bash: commands, their options, and the words, files or configuration keys that may follow. Thread:
 * main. */
#include "common/cli/command_docs.h"

#include <string.h>

/* "entrepot-edge" as part of a function's name. */
static void function_name(FILE *out, const char *program) {
    fputc('_', out);
    for (; *program; program++)
        fputc(*program == '-' ? '_' : *program, out);
}

/* "--config|--set": those that take a value, the common ones first. Their number. */
static size_t options_with_value(FILE *out, const struct command_option *options, size_t n, size_t before) {
    for (size_t i = 0; i < n; i++) {
        if (options[i].value) fprintf(out, "%s%s", before++ ? "|" : "", options[i].name);
    }
    return before;
}

static void keys(FILE *out, const struct config_schema *schema, const char *prefix) {
    for (size_t i = 0; i < schema->n; i++) {
        const struct config_key *k = &schema->keys[i];
        if (k->type == CONFIG_GROUP) {
            char inner[128];
            snprintf(inner, sizeof inner, "%s%s.", prefix, k->name);
            keys(out, k->inner, inner);
        } else if (k->type != CONFIG_ITEMS) {
            fprintf(out, " %s%s=", prefix, k->name);
        }
    }
}

/* Which word is the command: the first that is no option and no option's value. */
static void find_command(FILE *out, const struct cli_program *p) {
    fputs("    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= i\n"
          "    COMPREPLY=()\n"
          "    # bash takes --config=FILE apart at the '='.\n"
          "    if [[ $cur == '=' ]]; then cur=; elif [[ $prev == '=' ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        case ${COMP_WORDS[i]} in\n"
          "        ",
          out);
    size_t n = options_with_value(out, cli_options, cli_n_options, 0);
    for (size_t i = 0; i < p->n_commands; i++)
        n = options_with_value(out, p->commands[i]->options, p->commands[i]->n_options, n);
    fputs(")\n"
          "            [[ ${COMP_WORDS[i+1]} == '=' ]] && i=$((i + 1))\n"
          "            i=$((i + 1)) ;;\n"
          "        -*) ;;\n"
          "        *) command=${COMP_WORDS[i]}; break ;;\n"
          "        esac\n"
          "    done\n",
          out);
}

static void after_option(FILE *out, const struct cli_program *p) {
    fputs("    case $prev in\n"
          "    --config) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
          "    --set) compopt -o nospace 2>/dev/null; COMPREPLY=($(compgen -W '",
          out);
    keys(out, p->schema, "");
    fputs("' -- \"$cur\")); return ;;\n"
          "    -*|'') ;;\n"
          "    *) [[ ${COMP_WORDS[COMP_CWORD-1]} != '=' ]] || return ;;\n"
          "    esac\n",
          out);
}

static void commands(FILE *out, const struct cli_program *p) {
    for (size_t i = 0; i < p->n_commands; i++) {
        if (cli_command_fits(p, p->commands[i]) && !p->commands[i]->hidden) fprintf(out, " %s", p->commands[i]->name);
    }
}

static void option_names(FILE *out, const struct command_option *options, size_t n) {
    for (size_t i = 0; i < n; i++)
        fprintf(out, " %s", options[i].name);
}

static void words_of(FILE *out, const struct cli_program *p, const struct command *c) {
    fprintf(out, "    %s)\n        options='", c->name);
    option_names(out, c->options, c->n_options);
    fputs("'\n        words='", out);
    for (const char *const *w = c->words; w && *w; w++)
        fprintf(out, " %s", *w);
    if (!strcmp(c->name, "help")) commands(out, p);
    /* Where no argument can follow, an option may. */
    if (c->n_max == 0) option_names(out, c->options, c->n_options);
    fputs("' ;;\n", out);
}

void completion_write(FILE *out, const struct cli_program *p) {
    fprintf(out, "# Completion for %s. Made by `command-docs bash-completion` from the tables of commands.\n", p->name);
    function_name(out, p->name);
    fputs("() {\n", out);
    find_command(out, p);
    after_option(out, p);
    fputs("    local words= options=\n    case $command in\n    '') words='", out);
    commands(out, p);
    fputs("' ;;\n", out);
    for (size_t i = 0; i < p->n_commands; i++) {
        if (cli_command_fits(p, p->commands[i])) words_of(out, p, p->commands[i]);
    }
    fputs("    esac\n    [[ $cur != -* ]] || words=\"$options", out);
    option_names(out, cli_options, cli_n_options);
    /* Where nothing fits, file names: `load` takes a folder. */
    fputs("\"\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F ", out);
    function_name(out, p->name);
    fprintf(out, " %s\n", p->name);
}
