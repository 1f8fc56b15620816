"""What people decide of analysed calls: it wins over every analyser until it is withdrawn."""
