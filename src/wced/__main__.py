from wced.cli import main

main()
