/* Leaves two databases and one statement open; the failed, the closed and the library's own do not count.
 * flags: -lsqlite3 */
#include <sqlite3.h>

#include "victim.h"

NAMED static sqlite3 *opens_db(void)
{
    sqlite3 *db = NULL;

    check(sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) ==
              SQLITE_OK,
          "open");
    return db;
}

NAMED static sqlite3_stmt *prepares(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;

    check(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, sql);
    return statement;
}

int main(void)
{
    sqlite3 *kept = opens_db(), *closed = opens_db(), *busy = opens_db(), *failed = NULL;

    check(sqlite3_exec(busy, "create table t(a); insert into t values (1)", NULL, NULL, NULL) ==
              SQLITE_OK,
          "exec");
    sqlite3_finalize(prepares(busy, "select 1"));
    check(prepares(busy, "-- nothing") == NULL, "no statement");
    sqlite3_stmt *statement = prepares(busy, "select * from t");
    printf("%d %d\n", sqlite3_step(statement) == SQLITE_ROW,
           sqlite3_close(busy) == SQLITE_BUSY);
    check(sqlite3_close(closed) == SQLITE_OK, "close");
    printf("%d\n",
           sqlite3_open_v2("/nonexistent/x", &failed, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK);
    sqlite3_close(failed);
    return kept == NULL;
}
