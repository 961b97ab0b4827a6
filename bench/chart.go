package main

import (
	"os"
	"slices"

	"github.com/go-analyze/charts"
)

// chartTasks are what the chart shows, from the top, and what it calls it.
func chartTasks() [][2]string {
	return [][2]string{
		{"a@64", "empty net/http handler"},
		{"f@64", "memstore, single events"},
		{"c@64", "sqlitestore, single events"},
		{"b@64", "naive endpoint, single events"},
		{"d@8", "sqlitestore, batches of 500"},
		{letterFound, "raw INSERT loop, all tables"},
		{letterRaw, "raw INSERT loop, events alone"},
	}
}

// chart draws the events a second of what was measured, as SVG.
func (found *results) chart(place string) ([]byte, error) {
	var labels []string
	var values []float64
	for _, t := range chartTasks() {
		if len(found.rounds) > 0 && found.rounds[0].has(t[0]) {
			labels = append(labels, t[1])
			values = append(values, medianOf(found, t[0], func(m measurement) float64 { return m.Rate }))
		}
	}
	// The axis begins at the bottom.
	slices.Reverse(labels)
	slices.Reverse(values)

	o := charts.NewBarChartOptionWithData([][]float64{values})
	o.Horizontal = true
	o.Theme = charts.GetTheme(charts.ThemeLight).
		WithBackgroundColor(charts.ColorWhite). // legible on a dark page, too
		WithSeriesColors([]charts.Color{charts.ColorFromHex("#2f6f9f")})
	o.Title = charts.TitleOption{
		Text:      "Charge events per second: 64 connections, batches over 8",
		Offset:    charts.OffsetStr{Left: charts.PositionLeft},
		FontStyle: charts.FontStyle{FontSize: 14},
	}
	o.Legend.Show = charts.Ptr(false)
	o.Padding = charts.Box{Top: 16, Left: 32, Right: 48, Bottom: 16, IsSet: true}
	o.CategoryAxis.Labels = labels
	o.CategoryAxis.LabelFontStyle.FontSize = 10
	// Whoever looks may have a wider font than the one that was measured.
	o.CategoryAxis.LabelOffset.Left = -16
	o.ValueAxis[0].Title = "events/s on " + place
	o.ValueAxis[0].TitleFontStyle.FontSize = 10
	o.ValueAxis[0].LabelFontStyle.FontSize = 10
	o.ValueAxis[0].LabelCountAdjustment = -4
	o.ValueFormatter = thousands
	o.SeriesList[0].Label.Show = charts.Ptr(true)
	o.SeriesList[0].Label.ValueFormatter = thousands
	painter := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 860, Height: 400})
	if err := painter.BarChart(o); err != nil {
		return nil, err
	}
	return painter.Bytes()
}

// writeChart writes the chart where one was asked for.
func (o options) writeChart(found *results, place string) error {
	if o.chart == "" {
		return nil
	}
	drawn, err := found.chart(place)
	if err != nil {
		return err
	}
	return os.WriteFile(o.chart, drawn, 0o644) //nolint:gosec // a chart is for everybody to see
}
