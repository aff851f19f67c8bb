"use strict";
/* Charts and sortable tables of the report. Without it the pages still have their pictures and tables. */
(function () {
  var sources = window.afbenchPoints || {};
  var CROWD = 60; /* as in figures.py */

  function number(value) {
    return value === null ? "-" : Number(value.toPrecision(4)).toString();
  }

  function escaped(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  /* Lines of no more letters than this, where its parts allow it. */
  function wrapped(text, width) {
    return text.split(", ").reduce(function (lines, part) {
      var last = lines.length - 1;
      if (last >= 0 && lines[last].length + 2 + part.length <= width) { lines[last] += ", " + part; } else { lines.push(part); }
      return lines;
    }, []);
  }

  /* What a reader is told of a point: its numbers, then all of its experiment. */
  function hover(source, row, width) {
    var lines = ["<b>" + escaped(row.method + " " + row.point) + "</b>"];
    var interval = row.value_low === null ? "" : " [" + number(row.value_low) + ", " + number(row.value_high) + "]";
    lines.push(escaped(row.metric) + " " + number(row.value) + "%" + interval + ", " + row.videos + " videos, " +
      row.seeds + (row.seeds === 1 ? " seed" : " seeds"));
    source.costs.forEach(function (cost) {
      if (row[cost.column] !== null) { lines.push(escaped(cost.short) + " " + number(row[cost.column])); }
    });
    if (row.noisy) { lines.push("timed with noise"); }
    source.parts.forEach(function (part) {
      var text = part.fields.filter(function (field) { return field.texts[row.place] !== null; })
        .map(function (field) { return field.name + " " + field.texts[row.place]; }).join(", ");
      wrapped(part.name + ": " + text, width).forEach(function (line) { lines.push(escaped(line)); });
    });
    return lines.join("<br>");
  }

  /* Values as charts.py packed them, one a point. */
  function unpacked(packed, count) {
    var found = [];
    for (var place = 0; place < count; place += 1) {
      found.push(packed.of ? packed.of[packed.at.length ? packed.at[place] : packed.at] : packed[place]);
    }
    return found;
  }

  /* The fields of experiments by their parts, each with a text or null a point. */
  function partsOf(source) {
    var found = [];
    source.fields.forEach(function (field) {
      var part = found[found.length - 1];
      if (!part || part.name !== field.part) { part = { name: field.part, fields: [] }; found.push(part); }
      part.fields.push({ name: field.name, texts: unpacked(field.texts, source.count) });
    });
    return found;
  }

  function rowsOf(source) {
    var found = [];
    for (var place = 0; place < source.count; place += 1) { found.push({ place: place }); }
    Object.keys(source.columns).forEach(function (name) {
      unpacked(source.columns[name], source.count).forEach(function (value, place) { found[place][name] = value; });
    });
    return found;
  }

  function chosen(form, name) {
    return Array.prototype.filter.call(form.elements, function (element) {
      return element.name === name && element.checked;
    }).map(function (element) { return element.value; });
  }

  /* On a phone a name of an axis takes two lines. */
  function title(text, narrow) {
    return { text: narrow ? text.replace(" (", "<br>(").replace(", ", ",<br>") : text };
  }

  /* Of one place alone nothing but a guess is known of the range. */
  function range(values, log) {
    var least = Math.min.apply(null, values), most = Math.max.apply(null, values);
    if (!values.length || least < most || least <= 0) { return undefined; }
    return log ? [Math.log10(least / 2), Math.log10(least * 2)] : [0, 2 * least];
  }

  /* Of a logarithmic axis, written out at 1, 2 and 5. */
  function ticks(values) {
    var found = [];
    for (var power = -9; power < 15; power += 1) {
      [1, 2, 5].forEach(function (digit) { found.push(Number(digit + "e" + power)); });
    }
    var least = Math.min.apply(null, values), most = Math.max.apply(null, values);
    found = found.filter(function (value) { return value > least / 10 && value < most * 10; });
    return { tickvals: found, ticktext: found.map(String) };
  }

  function layout(x, y, dark, log, values, narrow) {
    var ink = dark ? "#e6edf3" : "#1b1f24", line = dark ? "#30363d" : "#d0d7de";
    var axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, family: "system-ui, sans-serif" },
      margin: { l: 60, r: 10, t: 34, b: 50 }, showlegend: false, hovermode: "closest",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: dark ? "#9aa4ae" : "#57606a", activecolor: ink },
      hoverlabel: { align: "left", bgcolor: dark ? "#161b22" : "#fff", bordercolor: ink, font: { color: ink, size: 11 } },
      xaxis: Object.assign({ title: title(x, narrow), type: log ? "log" : "linear", range: range(values, log) },
        log ? ticks(values) : {}, axis),
      yaxis: Object.assign({ title: { text: y } }, axis)
    };
  }

  function traces(source, rows, form, width) {
    var x = form.elements.x.value, y = form.elements.y.value, shown = chosen(form, "method"), found = [];
    var cost = source.costs.filter(function (each) { return each.column === x; })[0];
    shown.forEach(function (method) {
      var look = source.looks[method];
      var own = rows.filter(function (row) { return row.method === method && row[x] !== null && row[y] !== null; });
      own.sort(function (one, other) { return one[x] - other[x]; });
      var best = own.filter(function (row) { return y === "value" && row.unbeaten.indexOf(x) >= 0; });
      /* Of many points, bars of those that others beat would hide the rest. */
      var barred = function (row) { return row.value_low !== null && (rows.length <= CROWD || row.unbeaten.indexOf(x) >= 0); };
      if (best.length > 1) {
        found.push({ x: best.map(function (row) { return row[x]; }), y: best.map(function (row) { return row[y]; }),
          mode: "lines", line: { color: look.colour, width: 1.5 }, hoverinfo: "skip" });
      }
      found.push({
        x: own.map(function (row) { return row[x]; }), y: own.map(function (row) { return row[y]; }), mode: "markers",
        name: method, text: own.map(function (row) { return hover(source, row, width); }), hoverinfo: "text",
        customdata: own.map(function (row) { return row.experiment_id; }),
        error_y: y !== "value" ? { visible: false } : { type: "data", symmetric: false, thickness: 1, width: 0,
          array: own.map(function (row) { return barred(row) ? row.value_high - row.value : 0; }),
          arrayminus: own.map(function (row) { return barred(row) ? row.value - row.value_low : 0; }) },
        marker: { color: look.colour, size: 9, line: { color: look.colour, width: 1.5 },
          symbol: own.map(function (row) { return cost.timed && row.noisy ? look.symbol + "-open" : look.symbol; }),
          opacity: own.map(function (row) { return best.length && best.indexOf(row) < 0 ? 0.4 : 1; }) }
      });
    });
    if (form.elements.published && form.elements.published.checked && x === "gflops" && y === "value") {
      found.push(published(source.published, width));
    }
    return found;
  }

  /* What others printed: other training, other code. */
  function published(figures, width) {
    return {
      x: figures.map(function (each) { return each.gflops; }), y: figures.map(function (each) { return each.value; }),
      mode: "markers", name: "published", hoverinfo: "text",
      text: figures.map(function (each) {
        var facts = [each.backbone, each.frames ? each.frames + " frames" : null, "GFLOPs " + number(each.gflops),
          number(each.value) + "%"].filter(Boolean).join(", ");
        return ["<b>" + escaped(each.method) + ", published</b>"].concat(wrapped(facts, width).map(escaped),
          wrapped(each.source, width).map(escaped)).join("<br>");
      }),
      marker: { color: "#808080", symbol: "circle-open", size: 9, line: { width: 1.5 } }
    };
  }

  /* Whether costs lie so far apart that an axis should be logarithmic, as in the figures. */
  function wide(rows, column) {
    var values = rows.map(function (row) { return row[column]; }).filter(function (value) { return value > 0; });
    return Math.max.apply(null, values) > 20 * Math.min.apply(null, values);
  }

  var GLYPHS = { "circle": "\u25cf", "square": "\u25a0", "diamond": "\u25c6", "triangle-up": "\u25b2",
    "triangle-down": "\u25bc", "cross": "\u271a", "x": "\u2716", "star": "\u2605", "triangle-left": "\u25c0",
    "triangle-right": "\u25b6" };

  /* Beside the name of each method its marker, as text and not as a picture of one's own. */
  function mark(form, source) {
    Array.prototype.forEach.call(form.querySelectorAll(".mark"), function (place) {
      var look = source.looks[place.parentNode.querySelector("input").value];
      place.textContent = GLYPHS[look.symbol] + "\ufe0e";
      place.style.color = look.colour;
    });
  }

  function start(form) {
    var chart = form.parentNode.querySelector(".chart"), source = sources[form.dataset.source];
    if (!source || !window.Plotly) { return; }
    source.parts = source.parts || partsOf(source);
    var only = form.dataset.only ? new Set(form.dataset.only.split(" ")) : null;
    var rows = rowsOf(source).filter(function (row) { return !only || only.has(row.experiment_id); });
    var dark = window.matchMedia("(prefers-color-scheme: dark)");
    function draw() {
      var labels = { x: form.elements.x.selectedOptions[0].dataset.label, y: form.elements.y.selectedOptions[0].dataset.label };
      /* Letters of what is said under the mouse are about 6 pixels wide. */
      var letters = Math.max(30, Math.min(90, Math.floor(chart.clientWidth / 6) - 6));
      var drawn = traces(source, rows, form, letters), log = form.elements.log.checked;
      var values = drawn.reduce(function (all, trace) { return all.concat(trace.x); }, []);
      window.Plotly.react(chart, drawn, layout(labels.x, labels.y, dark.matches, log, values, chart.clientWidth < 500),
        /* Plotly's own button would upload the chart. */
        { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
          modeBarButtonsToRemove: ["lasso2d", "select2d"] });
    }
    mark(form, source);
    form.elements.log.checked = wide(form.elements.published ? rows.concat(source.published) : rows, form.elements.x.value);
    form.hidden = false;
    chart.classList.add("drawn");
    draw();
    form.addEventListener("change", draw);
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    dark.addEventListener("change", draw);
    chart.on("plotly_click", function (event) {
      var id = event.points[0].customdata;
      if (id) { window.location.href = form.dataset.root + "points/" + id + ".html"; }
    });
  }

  /* Tables are sorted by a button in each heading; text as text, numbers as numbers, what is missing last. */
  function sortable(table) {
    var body = table.tBodies[0];
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (heading, place) {
      var button = document.createElement("button");
      button.type = "button";
      while (heading.firstChild) { button.appendChild(heading.firstChild); }
      heading.appendChild(button);
      button.addEventListener("click", function () {
        var up = heading.getAttribute("aria-sort") === "descending";
        Array.prototype.forEach.call(table.tHead.rows[0].cells, function (each) { each.removeAttribute("aria-sort"); });
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        function key(row) {
          var text = row.cells[place].textContent.trim(), value = parseFloat(text.replace(/^[^-\d.]+/, ""));
          return { text: text, value: value, missing: text === "-" || text === "" };
        }
        Array.prototype.slice.call(body.rows).map(function (row) { return { row: row, key: key(row) }; })
          .sort(function (one, other) {
            if (one.key.missing !== other.key.missing) { return one.key.missing ? 1 : -1; }
            var numbers = !isNaN(one.key.value) && !isNaN(other.key.value);
            var order = numbers ? one.key.value - other.key.value : one.key.text.localeCompare(other.key.text);
            return up ? order : -order;
          }).forEach(function (each) { body.appendChild(each.row); });
      });
    });
  }

  Array.prototype.forEach.call(document.querySelectorAll("form.controls"), start);
  Array.prototype.forEach.call(document.querySelectorAll("table.sortable"), sortable);
})();
