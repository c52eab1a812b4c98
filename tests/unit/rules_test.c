#include "agent/rules.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"
#include "tests/unit/help.h"

/* The complaints of one parse, one per line. */
static char said[4096];
static struct text said_text;

static void note(void *arg, const char *text)
{
    (void)arg;
    text_addf(&said_text, "%s%s", said_text.size ? "\n" : "", text);
}

static struct rules start(void)
{
    arena_set_cap(64 << 20, 0);
    text_init(&said_text, said, sizeof said);
    return (struct rules){.complain = note};
}

static struct rules parse(const char *text)
{
    struct rules rules = start();

    rules_parse(&rules, "r", text, strlen(text));
    return rules;
}

static const struct rules_action *action(const struct rules *rules, size_t function, size_t n)
{
    const struct rules_action *a = rules->functions[function]->actions;

    while (a && n--)
        a = a->next;
    return a;
}

TEST(reads_profiles_and_their_functions)
{
    const struct rules rules =
        parse("# what is open\n"
              "profile sqlite.db\n"
              "  acquire sqlite3_open  key=*arg2  if ret==0 # comment\r\n"
              "\n"
              "  release sqlite3_close outside key=arg1 if ret == 0\n"
              "profile gpu.mem bytes=arg2\n"
              "\tacquire cudaMalloc outside key=*arg1 if ret==0 and arg2>0");

    CHECK_STR(said, "", "complaints");
    CHECK_INT(rules.n_profiles, 2, "profiles");
    CHECK_INT(rules.n_functions, 3, "functions");
    CHECK_STR(rules.profiles[0]->name, "sqlite.db", "");
    CHECK_INT(rules.profiles[0]->has_size, false, "");
    CHECK_INT(rules.profiles[1]->has_size, true, "");
    CHECK_STR(rules.functions[1]->name, "sqlite3_close", "");
    const struct rules_action *open = action(&rules, 0, 0), *close = action(&rules, 1, 0),
                              *cuda = action(&rules, 2, 0);
    CHECK(!open->is_release && close->is_release && close->needs_result);
    CHECK(!open->is_outside && close->is_outside && cuda->is_outside);
    CHECK_INT(open->key.kind, RULES_AT_ARG, "");
    CHECK_INT(open->key.arg, 2, "");
    CHECK_INT(close->key.kind, RULES_ARG, "");
    CHECK_INT(open->size.n_factors, 0, "");
    CHECK_INT(cuda->size.n_factors, 1, "");
    CHECK_INT(cuda->n_conditions, 2, "");
    CHECK(cuda->profile == rules.profiles[1]);
}

TEST(a_result_in_a_condition_is_an_int_unless_it_is_the_key)
{
    const struct rules rules = parse("profile p\n"
                                     "acquire a key=ret if ret!=-1\n"
                                     "acquire b key=arg1 if ret!=-1\n"
                                     "acquire c key=arg1 if ret:long!=-1\n"
                                     "acquire d key=ret:int if ret:int!=0x10 and arg3:int<=-7\n"
                                     "acquire e key=*arg1:int if arg1!=0\n");
    static const bool is_int[] = {false, true, false, true, false};

    CHECK_STR(said, "", "complaints");
    for (size_t i = 0; i < COUNT_OF(is_int); i++)
        CHECK_INT(action(&rules, i, 0)->conditions[0].value.is_int, is_int[i],
                  rules.functions[i]->name);
    CHECK_INT(action(&rules, 3, 0)->conditions[0].number, 16, "");
    CHECK_INT(action(&rules, 3, 0)->conditions[1].number, -7, "");
    CHECK(action(&rules, 3, 0)->key.is_int && action(&rules, 4, 0)->key.is_int);
}

TEST(sizes_are_values_numbers_and_products)
{
    const struct rules rules = parse("profile p bytes=arg1*arg2\n"
                                     "acquire a key=ret\n"
                                     "acquire b key=ret bytes=4096\n"
                                     "acquire c key=ret bytes=*arg3*8\n"
                                     "acquire d key=ret bytes = 8 * *arg3\n");

    CHECK_STR(said, "", "complaints");
    CHECK_INT(action(&rules, 0, 0)->size.factors[1].arg, 2, "the profile's");
    CHECK_INT(action(&rules, 1, 0)->size.factors[0].number, 4096, "a number");
    CHECK_INT(action(&rules, 2, 0)->size.factors[0].kind, RULES_AT_ARG, "a product");
    CHECK_INT(action(&rules, 2, 0)->size.factors[1].number, 8, "a product");
    CHECK_INT(action(&rules, 3, 0)->size.factors[1].kind, RULES_AT_ARG, "the other way");
}

TEST(one_function_may_have_several_rules)
{
    const struct rules rules =
        parse("profile p\nacquire remap key=ret\nrelease remap key=arg1 if ret!=-1\n"
              "profile q\nacquire remap key=ret\n");

    CHECK_STR(said, "", "complaints");
    CHECK_INT(rules.n_functions, 1, "functions");
    CHECK(!action(&rules, 0, 0)->is_release && action(&rules, 0, 1)->is_release);
    CHECK(action(&rules, 0, 2)->profile == rules.profiles[1] && !action(&rules, 0, 3));
}

/* Each stands in line 3 of a file that is good otherwise. */
TEST(each_error_is_said_once_with_its_place)
{
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"aquire f key=ret",                                                   "r:3: aquire: unknown word; expected profile, acquire or release"        },
        {"acquire",                                                            "r:3: end of line: no function; expected its name as the linker knows it"},
        {"acquire key=ret",
         "r:3: key=ret: no function; expected its name as the linker knows it"                                                                          },
        {"acquire f@V key=ret",
         "r:3: f@V: not the name of a function; expected letters, digits, _ $ and ."                                                                    },
        {"acquire 5f key=ret",
         "r:3: 5f: not the name of a function; expected letters, digits, _ $ and ."                                                                     },
        {"acquire vfork key=ret",
         "r:3: vfork: may return twice and cannot be followed; expected another function"                                                               },
        {"acquire __vfork key=ret",
         "r:3: __vfork: may return twice and cannot be followed; expected another function"                                                             },
        {"acquire f",                                                          "r:3: end of line: no key; expected key=ret, key=argN or key=*argN"      },
        {"acquire f ret",                                                      "r:3: ret: no key; expected key=ret, key=argN or key=*argN"              },
        {"acquire f key=",
         "r:3: end of line: not a value; expected ret, argN or *argN with N from 1 to 22"                                                               },
        {"acquire f key=foo",
         "r:3: foo: not a value; expected ret, argN or *argN with N from 1 to 22"                                                                       },
        {"acquire f key=*ret",
         "r:3: *ret: not a value; expected ret, argN or *argN with N from 1 to 22"                                                                      },
        {"acquire f key=arg0",
         "r:3: arg0: no such argument; expected ret, argN or *argN with N from 1 to 22"                                                                 },
        {"acquire f key=arg23",
         "r:3: arg23: no such argument; expected ret, argN or *argN with N from 1 to 22"                                                                },
        {"acquire f key=arg",
         "r:3: arg: no such argument; expected ret, argN or *argN with N from 1 to 22"                                                                  },
        {"acquire f key=arg1x",
         "r:3: x: text behind a value; expected ret, argN or *argN with N from 1 to 22, then a "
         "blank"                                                                                                                                        },
        {"acquire f key=ret:short",                                            "r:3: :short: no such width; expected :int or :long"                     },
        {"acquire f key=ret when ret==0",
         "r:3: when: unknown word; expected if, or the end of the line"                                                                                 },
        {"acquire f key=ret if",
         "r:3: end of line: not a value; expected ret, argN or *argN with N from 1 to 22"                                                               },
        {"acquire f key=ret if ret=0",
         "r:3: =0: no comparison; expected ==, !=, <, <=, > or >="                                                                                      },
        {"acquire f key=ret if ret==x",
         "r:3: x: not a number; expected a whole number such as 0, -1 or 0x10"                                                                          },
        {"acquire f key=ret if ret==9223372036854775808",
         "r:3: 9223372036854775808: number too large; expected one of 63 bits"                                                                          },
        {"acquire f key=ret if ret==0 or arg1==0",
         "r:3: or: unknown word; expected and, or the end of the line"                                                                                  },
        {"acquire f key=ret if ret>0 and ret>1 and ret>2 and ret>3 and ret>4",
         "r:3: ret>4: one condition too many; expected up to four"                                                                                      },
        {"acquire f key=ret bytes=arg1",
         "r:3: bytes of a rule in a profile without; expected profile good bytes=..."                                                                   },
        {"acquire f key=ret bytes=1*2*3",
         "r:3: 3: one factor too many; expected a product of two"                                                                                       },
        {"acquire f key=ret bytes=-1",
         "r:3: -1: a negative size; expected a number, ret, argN or *argN"                                                                              },
        {"acquire f key=ret bytes",
         "r:3: bytes: no size; expected bytes=argN or bytes=argN*argM"                                                                                  },
        {"release f key=ret",                                                  "r:3: key=ret: a release takes its object out before the call; "
                              "expected key=argN or key=*argN"                                                             },
        {"release f key=arg1 bytes=arg2",
         "r:3: bytes=arg2: unknown word; expected if, or the end of the line"                                                                           },
        {"acquire opens key=ret",
         "r:3: opens: the same rule twice; expected it once in a profile"                                                                               },
        {"profile",
         "r:3: end of line: no name of a profile; expected profile NAME [bytes=SIZE] "
         "with a name of up to 255 characters"                                                                                                          },
        {"profile bytes=arg1",                                                 "r:3: bytes=arg1: no name of a profile; expected profile NAME "
                               "[bytes=SIZE] with a name of up to 255 characters"                                         },
        {"profile a\1b",
         "r:3: profile: control character in the name; expected printable ones"                                                                         },
        {"profile good",                                                       "r:3: profile good: is at r:1 already; expected another name"            },
        {"profile x y",                                                        "r:3: y: unknown word; expected bytes=SIZE, or the end of the line"      },
        {"profile x",                                                          "r:3: profile x has no valid acquire; expected acquire FUNCTION key=..." },
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[512];
        snprintf(text, sizeof text, "profile good\n acquire opens key=ret\n%s\n",
                 cases[i].line);
        const struct rules rules = parse(text);
        CHECK_STR(said, cases[i].says, cases[i].line);
        CHECK_INT(rules.n_errors, 1, cases[i].line);
        CHECK_STR(rules.profiles[0]->name, "good", cases[i].line);
        CHECK_INT(rules.profiles[0]->n_acquires, 1, cases[i].line);
    }
}

TEST(rules_need_a_profile_above_them)
{
    parse("release f key=arg1\nprofile p\nacquire f key=ret\n");
    CHECK_STR(said, "r:1: release before any profile; expected profile NAME above it", "");
}

TEST(rules_below_a_bad_profile_line_are_left_out_in_silence)
{
    const struct rules rules = parse("profile p\nacquire f key=ret\nprofile p\nacquire g "
                                     "key=ret\nprofile q\nacquire h key=ret\n");

    CHECK_STR(said, "r:3: profile p: is at r:1 already; expected another name", "");
    CHECK_INT(rules.n_functions, 2, "functions");
    CHECK_STR(rules.functions[1]->name, "h", "");
}

TEST(zero_bytes_and_long_lines_are_errors)
{
    struct rules rules = start();
    char line[RULES_LINE_MAX + 3];

    rules_parse(&rules, "r", "profile p\nacquire f\0 key=ret\nacquire g key=ret\n", 47);
    CHECK_STR(said, "r:2: a zero byte; expected text", "");
    CHECK_INT(rules.n_functions, 1, "functions");
    memset(line, 'x', sizeof line);
    line[RULES_LINE_MAX + 1] = '\n';
    rules = start();
    rules_parse(&rules, "r", line, RULES_LINE_MAX + 2);
    CHECK_STR(said, "r:1: line too long; expected up to 1000 characters", "");
}

TEST(tables_have_limits_that_are_said)
{
    struct rules rules = start();
    char text[128];

    for (int i = 0; i <= RULES_PROFILES_MAX; i++) {
        const int n = snprintf(text, sizeof text, "profile p%d\nacquire f%d key=ret\n", i, i);
        rules_parse(&rules, "r", text, (size_t)n);
    }
    CHECK_STR(said, "r:1: profile p64: one too many; expected up to 64", "");
    rules = start();
    rules_parse(&rules, "r", "profile p\nacquire f key=ret\n", 28);
    for (int i = 1; i <= RULES_FUNCTIONS_MAX; i++) {
        struct rules_profile *profile = rules.profiles[0];
        rules.n_profiles = 0; /* the same one again */
        const int n = snprintf(text, sizeof text, "profile p\nacquire f%d key=ret\n", i);
        text_init(&said_text, said, sizeof said);
        rules_parse(&rules, "r", text, (size_t)n);
        rules.profiles[0] = profile;
    }
    CHECK(strncmp(said, "r:2: f512: one function too many; expected up to 512\n", 53) == 0);
}

TEST(releases_that_may_be_put_back_have_a_limit)
{
    struct rules rules = start();

    for (char name = 'a'; name < 'f'; name++) {
        char text[128];
        const int n =
            snprintf(text, sizeof text,
                     "profile %c\nacquire g key=ret\nrelease f key=arg1 if ret==0\n", name);
        rules_parse(&rules, "r", text, (size_t)n);
    }
    CHECK_STR(said, "r:3: f: one release with a condition on ret too many; expected up to 4",
              "");
}

TEST(without_memory_lines_are_left_out_and_said)
{
    struct rules rules = {.complain = note};
    static const char text[] = "profile p\nacquire f key=ret\n";

    text_init(&said_text, said, sizeof said);
    arena_set_cap(0, 0);
    while (arena_alloc(4096)) /* what is left of the last chunk */
        ;
    while (arena_alloc(16))
        ;
    rules_parse(&rules, "r", text, strlen(text));
    CHECK_STR(
        said,
        "r:1: CPROF_MEMORY: the cap leaves no room; the line is left out", "");
    CHECK_INT(rules.n_profiles, 0, "profiles");
}

TEST(several_files_are_read_and_missing_ones_said)
{
    char path[] = "/tmp/cprof-rules-XXXXXX", list[256];
    struct rules rules = start();
    const int fd = mkstemp(path);

    CHECK_INT(write(fd, "profile p\nacquire f key=ret\n", 28), 28, "");
    close(fd);
    snprintf(list, sizeof list, "/nonexistent/a.rules:%s::/tmp", path);
    rules_read(&rules, list);
    unlink(path);
    CHECK_STR(
        said,
        "CPROF_RULES=/nonexistent/a.rules: No such file or directory; its rules are left out\n"
        "CPROF_RULES=/tmp: Is a directory; its rules are left out",
        "");
    CHECK_INT(rules.n_functions, 1, "functions");
}

TEST(a_pipe_is_not_waited_for)
{
    char path[] = "/tmp/cprof-fifo-XXXXXX", want[128];
    struct rules rules = start();

    close(mkstemp(path));
    unlink(path);
    CHECK_INT(mkfifo(path, 0600), 0, "mkfifo");
    rules_read(&rules, path);
    unlink(path);
    snprintf(want, sizeof want, "CPROF_RULES=%s: not a regular file; its rules are left out",
             path);
    CHECK_STR(said, want, "");
}

TEST(conditions_compare_signed_numbers)
{
    static const struct {
        uint8_t compare;
        bool below, equal, above;
    } cases[] = {
        {RULES_EQ, false, true,  false},
        {RULES_NE, true,  false, true },
        {RULES_LT, true,  false, false},
        {RULES_LE, true,  true,  false},
        {RULES_GT, false, false, true },
        {RULES_GE, false, true,  true },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct rules_condition condition = {.compare = cases[i].compare, .number = -1};
        CHECK_INT(rules_is_true(&condition, -2), cases[i].below, "-2");
        CHECK_INT(rules_is_true(&condition, -1), cases[i].equal, "-1");
        CHECK_INT(rules_is_true(&condition, 0), cases[i].above, "0");
    }
}

/* The files that are installed. */
TEST(the_shipped_rules_have_no_error)
{
    static const char *const names[] = {"sqlite3", "curl",   "openssl", "zlib", "libpq",
                                        "pthread", "dlopen", "mmap",    "cuda"};
    char path[256];

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct rules rules = start();
        snprintf(path, sizeof path, "scripts/rules/%s.rules", names[i]);
        rules_read(&rules, path);
        CHECK_STR(said, "", path);
        CHECK(rules.n_functions >= 2);
    }
}
