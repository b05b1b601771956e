// Runs the SQL of standard input in DuckDB and prints the rows of the last SELECT as JSON.
const { DuckDBInstance } = require(process.cwd() + "/node_modules/@duckdb/node-api");
(async () => {
  const db = await (await DuckDBInstance.create(":memory:")).connect();
  let rows = [];
  for (const sql of require("fs").readFileSync(0, "utf8").split(/;\s*$/m)) {
    if (!sql.trim()) continue;
    const found = (await db.runAndReadAll(sql)).getRowObjectsJson();
    if (/^\s*SELECT/.test(sql)) rows = found;
  }
  console.log(JSON.stringify(rows));
})().catch((e) => { console.error(e.message); process.exit(1); });
