package main

import (
	"github.com/go-analyze/charts"
)

func (r *results) chart() ([]byte, error) {
	var labels []string
	var values []float64
	for _, bar := range [][2]string{
		{"e", "INSERT loop, events table only"},
		{"d@8", "sqlitestore, batches of 500"},
		{"b@64", "written by hand, single events"},
		{"c@64", "sqlitestore, single events"},
		{"f@64", "memstore, single events"},
		{"a@64", "empty net/http handler"},
	} {
		if rates := r.values(bar[0], rate); len(rates) > 0 {
			labels = append(labels, bar[1])
			values = append(values, median(rates))
		}
	}
	o := charts.NewBarChartOptionWithData([][]float64{values})
	o.Horizontal = true
	o.Theme = charts.GetTheme(charts.ThemeLight).
		WithBackgroundColor(charts.ColorWhite). // legible on dark pages
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
	o.CategoryAxis.LabelOffset.Left = -16 // room for a wider font
	o.ValueAxis[0].Title = "events/s on " + r.machine
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
