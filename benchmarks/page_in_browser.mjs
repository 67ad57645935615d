// Opens reports in headless Chromium as readers do: from disk, in light and dark, on a desk, on a phone and on paper.
//
//   npm install --prefix DIR axe-core puppeteer-core
//   NODE_MODULES=DIR/node_modules node benchmarks/page_in_browser.mjs runs/quickstart/report/index.html [--pictures OUT]
//
// Counts, for each page: errors of its console, requests that left it, axe-core's violations (all rules; serious and critical
// ones fail), pixels by which it is wider than a phone of 390 px, whether a click on a table's header sorts it, and what stays closed on paper. One JSON line
// for each page and scheme; exit code 1 where anything fails, 77 (skipped) where Chromium or a package is not found.
import { createRequire } from "node:module";
import { existsSync, mkdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const SKIPPED = 77;
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 900 };
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];

const given = process.argv.slice(2);
const at = given.indexOf("--pictures");
const pictures = at < 0 ? null : resolve(given.splice(at, 2)[1]);
const require = createRequire(join(resolve(process.env.NODE_MODULES ?? "node_modules"), "x.js"));

function skip(reason) {
  console.error(`skipped: ${reason}`);
  process.exit(SKIPPED);
}

function found(name) {
  try {
    return require(name);
  } catch {
    return skip(`no package ${name} in NODE_MODULES (npm install --prefix DIR axe-core puppeteer-core)`);
  }
}

const chromium = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => path && existsSync(path),
);
if (!chromium) skip("no Chromium (apt-get install chromium, or its path in CHROMIUM)");
if (!given.length) skip("no page was given");
const puppeteer = found("puppeteer-core");
const axe = found("axe-core");

async function sorts(page) {
  // The verdict table by its third column: a second click gives another order than the first. null: no table of several rows.
  return page.evaluate(() => {
    const table = [...document.querySelectorAll("table.sorts")].find((one) => one.tBodies[0].rows.length > 1);
    if (!table) return null;
    const button = [...table.tHead.querySelectorAll("button")].at(2);
    if (!button) return false;
    const order = () => [...table.tBodies[0].rows].map((row) => row.textContent);
    button.click();
    const first = order();
    button.click();
    const second = order();
    return JSON.stringify(first) !== JSON.stringify(second);
  });
}

async function onPaper(page) {
  // Folds that stay closed, and headers that stay buttons, which Chromium prints on a table's first page alone; both for a while.
  return page.evaluate(() => {
    dispatchEvent(new Event("beforeprint"));
    const count = (what) => document.querySelectorAll(what).length;
    const found = { closed_on_paper: count("details:not([open])"), buttons_on_paper: count("th > button") };
    dispatchEvent(new Event("afterprint"));
    return found;
  });
}

async function look(browser, file, scheme) {
  const page = await browser.newPage();
  const [errors, requests] = [[], []];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (one) => /^(file|data|blob|about):/.test(one.url()) || requests.push(one.url()));
  await page.setViewport(DESK);
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(pathToFileURL(resolve(file)).href, { waitUntil: "load" });
  const paper = await onPaper(page);
  const isSorting = await sorts(page);
  await page.evaluate(axe.source); // the page lets no script but its own in, this way round works all the same
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  const name = join(pictures ?? "", `${basename(dirname(dirname(resolve(file))))}-${scheme}`);
  if (pictures) await page.screenshot({ path: `${name}.png`, fullPage: true });
  await page.setViewport({ ...PHONE, isMobile: true });
  const wider = await page.evaluate((width) => document.documentElement.scrollWidth - width, PHONE.width);
  if (pictures) await page.screenshot({ path: `${name}-phone.png`, fullPage: true });
  if (pictures && scheme === "light") await page.pdf({ path: `${name}-print.pdf`, format: "A4" });
  await page.close();
  const serious = violations.filter((one) => ["serious", "critical"].includes(one.impact));
  return {
    page: file,
    scheme,
    console_errors: errors,
    requests,
    violations: violations.map((one) => `${one.id} (${one.impact}, ${one.nodes.length})`),
    serious: serious.length,
    wider_than_phone_px: Math.max(0, wider),
    sorts: isSorting,
    ...paper,
    fails: errors.length + requests.length + serious.length + paper.buttons_on_paper > 0 || wider > 0 || isSorting === false,
  };
}

if (pictures) mkdirSync(pictures, { recursive: true });
const browser = await puppeteer.launch({ executablePath: chromium, args: FLAGS, headless: true });
let failed = false;
for (const file of given)
  for (const scheme of ["light", "dark"]) {
    const seen = await look(browser, file, scheme);
    failed ||= seen.fails;
    console.log(JSON.stringify(seen));
  }
await browser.close();
process.exit(failed ? 1 : 0);
