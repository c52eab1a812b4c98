/* rules - what functions open and close the objects of custom profiles: the text file of CPROF_RULES.
 *
 *     profile NAME [bytes=SIZE]
 *       acquire FUNCTION [outside] key=VALUE [bytes=SIZE] [if CONDITION [and CONDITION ...]]
 *       release FUNCTION [outside] key=VALUE [if CONDITION [and CONDITION ...]]
 *
 *     VALUE      ret, argN or *argN, then :int (32 bits with sign) or :long (64 bits) where it matters
 *     SIZE       VALUE or a number, or a product of two of them: arg1*arg2
 *     CONDITION  VALUE, one of == != < <= > >=, a number
 *     outside    only calls from other objects than the one that has the function
 *
 * A # begins a comment.  A file is read once, in the constructor, into constant records in the arena: profiles, and functions
 * each with the list of what is to be done when it is called.  Every error is one complaint and costs
 * its own line (an error in a profile line: the rules below it too); all other lines count.
 *
 * A condition on ret looks at an int, because functions that return one leave garbage above it; where ret
 * is the key as well it is a pointer and all of it counts.  Keys, sizes and arguments are 64 bits wide.
 *
 * No locks: written by the constructor only, which also keeps it in bounds (RULES_*_MAX). */
#ifndef CPROF_AGENT_RULES_H
#define CPROF_AGENT_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct objects;

enum {
    RULES_NAME_MAX = 255,
    RULES_ARG_MAX = 22, /* six in registers (aarch64: eight), the others words of the stack */
    RULES_CONDITIONS_MAX = 4,
    RULES_FACTORS_MAX = 2,
    RULES_PUT_BACK_MAX = 4, /* releases of one function that look at ret */
    RULES_PROFILES_MAX = 64,
    RULES_FUNCTIONS_MAX = 512,
    RULES_LINE_MAX = 1000,
    RULES_FILE_BYTES_MAX = 256 << 10,
};

enum rules_kind { RULES_NUMBER, RULES_RET, RULES_ARG, RULES_AT_ARG /* *argN */ };

struct rules_value {
    uint8_t kind;   /* enum rules_kind */
    uint8_t arg;    /* N of argN */
    bool is_int;    /* its low 32 bits, with their sign */
    int64_t number; /* RULES_NUMBER */
};

enum rules_compare { RULES_EQ, RULES_NE, RULES_LT, RULES_LE, RULES_GT, RULES_GE };

struct rules_condition {
    struct rules_value value;
    uint8_t compare; /* enum rules_compare, of signed numbers */
    int64_t number;
};

/* A product; 0 factors: no size. */
struct rules_size {
    uint8_t n_factors;
    struct rules_value factors[RULES_FACTORS_MAX];
};

/* One line of the file. */
struct rules_action {
    struct rules_action *next; /* of the same function, in the order of the file */
    struct rules_profile *profile;
    struct rules_value key;
    struct rules_size size;
    uint8_t n_conditions;
    bool is_release;
    bool is_outside;
    bool needs_result; /* a release of which a condition looks at ret */
    struct rules_condition conditions[RULES_CONDITIONS_MAX];
};

struct rules_profile {
    const char *name;
    bool has_size;
    uint32_t n_acquires;
    struct rules_size size;
    const char *file; /* where it stands */
    unsigned line;
    struct objects *objects; /* the user's */
    bool is_reported;        /* the user's */
};

struct rules_function {
    const char *name;
    struct rules_action *actions; /* NULL: none is valid */
};

struct rules {
    struct rules_profile *profiles[RULES_PROFILES_MAX];
    size_t n_profiles;
    struct rules_function *functions[RULES_FUNCTIONS_MAX];
    size_t n_functions;
    size_t n_errors;
    /* Called once for each error: `FILE:LINE: what is wrong; what was expected`. */
    void (*complain)(void *arg, const char *text);
    void *arg;
};

/* Adds the rules of text[0..size), which is the content of `file`: kept by the caller for ever. */
void rules_parse(struct rules *rules, const char *file, const char *text, size_t size);

/* Adds the rules of the files in `paths`, separated by colons.  One complaint for each that cannot be read. */
void rules_read(struct rules *rules, const char *paths);

bool rules_is_true(const struct rules_condition *condition, int64_t value);

#endif
