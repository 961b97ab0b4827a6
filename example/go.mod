module example.com/chargeingest/example

go 1.26.0

require example.com/chargeingest v0.0.0

replace example.com/chargeingest => ../
