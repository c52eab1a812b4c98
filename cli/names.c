/* names - libiberty demangles, the rest is cutting.
 *
 * Names come from files that anybody may have written, and a short mangled name can stand for
 * one that fills all memory: libiberty hands out its text in pieces, and when they exceed
 * DEMANGLED_MAX we leave by longjmp and keep the mangled name. (It holds no memory then but a
 * few bytes of a Rust identifier.) */
#include "cli/names.h"

#include <ctype.h>
#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum { DEMANGLED_MAX = 16384 };

struct output {
    jmp_buf too_long;
    size_t length;
    char text[DEMANGLED_MAX];
};

static void append(const char *piece, size_t size, void *to)
{
    struct output *output = to;

    if (size >= sizeof output->text - output->length)
        longjmp(output->too_long, 1);
    memcpy(output->text + output->length, piece, size);
    output->length += size;
}

/* False when `mangled` is no mangled name; the text is in output then only in part. */
static bool demangle(const char *mangled, struct output *output,
                     int (*how)(const char *, int, demangle_callbackref, void *))
{
    output->length = 0;
    if (setjmp(output->too_long) || !how(mangled, DMGL_NO_OPTS, append, output))
        return false;
    output->text[output->length] = '\0';
    return output->length > 0;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* How many characters at `at` spell an operator with < or >; 0 when it is none. */
static size_t operator_length(const char *name, const char *at)
{
    static const char *const operators[] = {"<=>", "<<=", ">>=", "->*", "<<", ">>",
                                            "<=",  ">=",  "->",  "<",   ">",  NULL};
    const size_t word = sizeof "operator" - 1;

    if ((size_t)(at - name) < word || memcmp(at - word, "operator", word) != 0 ||
        ((size_t)(at - name) > word && is_word(at[-(ptrdiff_t)word - 1])))
        return 0;
    for (const char *const *o = operators; *o; o++)
        if (!strncmp(at, *o, strlen(*o)))
            return strlen(*o);
    return 0;
}

/* One character inside a template's list; `depth` brackets are open, `open` knows which.  In
 * parentheses < and > may be comparisons: a closing one ends all that it encloses. */
enum { DEPTH_MAX = 256 };
static size_t step(char c, size_t depth, char open[DEPTH_MAX])
{
    if ((c == '<' || c == '(') && depth < DEPTH_MAX)
        open[depth++] = c;
    else if (c == '>' && depth && open[depth - 1] == '<')
        depth--;
    else if (c == ')')
        while (depth > 1 && open[--depth] != '(')
            ;
    return depth;
}

/* The end of the template's list that starts at `at`; NULL when it has none. */
static const char *list_end(const char *name, const char *at)
{
    char open[DEPTH_MAX] = "";
    size_t depth = 0;

    for (; *at; at++) {
        const size_t skip = operator_length(name, at);
        if (skip && depth) {
            at += skip - 1;
            continue;
        }
        if (*at == '>' && at[-1] == '-')
            continue;
        depth = step(*at, depth, open);
        if (depth == 0)
            return at + 1;
    }
    return NULL;
}

/* Cuts every <...> that is no operator, in place. */
static void cut_templates(char *name)
{
    char *to = name;

    for (const char *from = name; *from;) {
        const char *end = NULL;
        size_t n = operator_length(name, from);
        if (n == 0 && *from == '<')
            end = list_end(name, from);
        if (end) {
            if (to > name && to[-1] == ' ') /* "operator<< <char>" */
                to--;
            from = end;
            continue;
        }
        for (n = n ? n : 1; n; n--)
            *to++ = *from++;
    }
    *to = '\0';
}

/* pprof's way with names that the producer has demangled: cuts each outermost pair. */
static void cut_pairs(char *name, char open, char close)
{
    char *first = name;
    int depth = 0;

    for (char *c = name; *c;) {
        if (*c == open && depth++ == 0)
            first = c;
        if (*c == close && --depth < 0)
            return;
        if (*c == close && depth == 0) {
            memmove(first, c + 1, strlen(c + 1) + 1);
            c = first;
        } else {
            c++;
        }
    }
}

static bool looks_demangled(const char *name)
{
    if (strstr(name, ".<") || strstr(name, "]).")) /* Java, Go */
        return false;
    return strpbrk(name, "<>[]") || strstr(name, "::");
}

char *names_simple(const struct profile_function *function)
{
    static struct output output;
    const char *system_name = function->system_name;

    if (*function->name && strcmp(function->name, system_name) != 0)
        return strdup(function->name);
    if (demangle(system_name, &output, rust_demangle_callback))
        return strdup(output.text);
    if (demangle(system_name, &output, cplus_demangle_v3_callback)) {
        cut_templates(output.text);
        return strdup(output.text);
    }
    char *name = strdup(system_name);
    if (name && looks_demangled(name)) {
        cut_pairs(name, '(', ')');
        cut_pairs(name, '<', '>');
    }
    return name;
}
